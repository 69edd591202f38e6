/* Frames (type, length, payload) and fields (tag, length, bytes) on top of one descriptor. */
#ifndef SANDBOXER_WIRE_H
#define SANDBOXER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

struct bytes {
  const uint8_t *data;
  size_t length;
};

struct frame {
  uint8_t type;
  struct bytes payload;
};

/* One receive buffer; frames handed out point into it until the next fill. */
struct connection {
  int descriptor;
  uint8_t *input;
  size_t capacity;
  size_t start;
  size_t end;
};

/* One frame under construction; too small a buffer sets `overflow` and nothing is written past it. */
struct builder {
  uint8_t *data;
  size_t capacity;
  size_t length;
  size_t frame_start;
  bool overflow;
};

enum next_frame { FRAME_NEEDS_MORE, FRAME_COMPLETE, FRAME_BROKEN };

bool connection_open(struct connection *connection, int descriptor);
/* One read: 1 with data, 0 at the end, -1 with errno (EAGAIN when it would block). */
int connection_fill(struct connection *connection);
enum next_frame connection_next(struct connection *connection, struct frame *frame);
/* Waits for a whole frame until the deadline (0: no deadline). False: gone, late or broken (errno says). */
bool connection_wait(struct connection *connection, struct frame *frame, uint64_t deadline_ns);
/* Waits for `length` plain bytes and removes them. */
bool connection_take(struct connection *connection, uint8_t *target, size_t length, uint64_t deadline_ns);

bool fields_next(struct bytes *rest, uint8_t *tag, struct bytes *value);
bool fields_valid(struct bytes payload);
bool field_find(struct bytes payload, uint8_t tag, struct bytes *value);
uint64_t field_number(struct bytes payload, uint8_t tag, uint64_t otherwise);
/* Copies a field as a C string; false when missing, too long, empty or holding a zero byte. */
bool field_string(struct bytes payload, uint8_t tag, char *target, size_t capacity);

void builder_init(struct builder *builder, uint8_t *data, size_t capacity);
void builder_begin(struct builder *builder, uint8_t type);
void builder_number(struct builder *builder, uint8_t tag, uint64_t value);
void builder_bytes(struct builder *builder, uint8_t tag, const void *data, size_t length);
void builder_text(struct builder *builder, uint8_t tag, const char *text);
void builder_end(struct builder *builder);

void frame_header(uint8_t *target, uint8_t type, uint32_t length);
bool send_all(int descriptor, const void *data, size_t length);
bool write_all(int descriptor, const void *data, size_t length);
bool send_frame(int descriptor, uint8_t type, const void *payload, size_t length);
bool send_error(int descriptor, enum error_code code, const char *text);
/* The error code and a text "what: reason" for errno. */
bool send_errno(int descriptor, int number, const char *what);
enum error_code error_for_errno(int number);

uint64_t now_ns(void);
/* Milliseconds left until the deadline, rounded up, for poll; -1 without a deadline. */
int milliseconds_until(uint64_t deadline_ns);

#define NANOSECONDS_PER_MILLISECOND 1000000ULL

#endif

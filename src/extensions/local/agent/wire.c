#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Room for one whole frame plus the beginning of the next ones. */
#define INPUT_CAPACITY (2 * PROTOCOL_MAX_PAYLOAD)

uint64_t now_ns(void) {
  struct timespec time;
  /* Boot time goes on while the machine is suspended: a deadline must not stretch by that. */
  if (clock_gettime(CLOCK_BOOTTIME, &time) != 0) return 0;
  return (uint64_t)time.tv_sec * 1000000000ULL + (uint64_t)time.tv_nsec;
}

int milliseconds_until(uint64_t deadline_ns) {
  if (deadline_ns == 0) return -1;
  uint64_t now = now_ns();
  if (now >= deadline_ns) return 0;
  uint64_t left = (deadline_ns - now + NANOSECONDS_PER_MILLISECOND - 1) / NANOSECONDS_PER_MILLISECOND;
  return left > 3600000 ? 3600000 : (int)left;
}

static uint32_t read_u32(const uint8_t *data) {
  return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

static void write_u32(uint8_t *data, uint32_t value) {
  for (int index = 0; index < 4; index++) data[index] = (uint8_t)(value >> (8 * index));
}

bool connection_open(struct connection *connection, int descriptor) {
  /* Pages come on first touch, so a short request costs one or two of them. */
  void *memory = mmap(NULL, INPUT_CAPACITY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  *connection = (struct connection){.descriptor = descriptor, .input = memory, .capacity = INPUT_CAPACITY};
  return true;
}

int connection_fill(struct connection *connection) {
  if (connection->start == connection->end) connection->start = connection->end = 0;
  if (connection->start > 0 && connection->capacity - connection->end < PROTOCOL_MAX_PAYLOAD / 4) {
    size_t length = connection->end - connection->start;
    memmove(connection->input, connection->input + connection->start, length);
    connection->start = 0;
    connection->end = length;
  }
  size_t room = connection->capacity - connection->end;
  if (room == 0) {
    errno = EMSGSIZE;
    return -1;
  }
  ssize_t count = read(connection->descriptor, connection->input + connection->end, room);
  if (count < 0) return -1;
  connection->end += (size_t)count;
  return count == 0 ? 0 : 1;
}

enum next_frame connection_next(struct connection *connection, struct frame *frame) {
  size_t available = connection->end - connection->start;
  if (available < PROTOCOL_HEADER_BYTES) return FRAME_NEEDS_MORE;
  const uint8_t *head = connection->input + connection->start;
  uint32_t length = read_u32(head + 1);
  if (length > PROTOCOL_MAX_PAYLOAD) return FRAME_BROKEN;
  if (available - PROTOCOL_HEADER_BYTES < length) return FRAME_NEEDS_MORE;
  frame->type = head[0];
  frame->payload = (struct bytes){.data = head + PROTOCOL_HEADER_BYTES, .length = length};
  connection->start += PROTOCOL_HEADER_BYTES + length;
  return FRAME_COMPLETE;
}

static bool wait_and_fill(struct connection *connection, uint64_t deadline_ns) {
  for (;;) {
    struct pollfd ready = {.fd = connection->descriptor, .events = POLLIN};
    int timeout = milliseconds_until(deadline_ns);
    int count = poll(&ready, 1, timeout);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    if (count == 0) {
      errno = ETIMEDOUT;
      return false;
    }
    int filled = connection_fill(connection);
    if (filled == 1) return true;
    if (filled == 0) {
      errno = ECONNRESET;
      return false;
    }
    if (errno != EINTR && errno != EAGAIN) return false;
  }
}

bool connection_wait(struct connection *connection, struct frame *frame, uint64_t deadline_ns) {
  for (;;) {
    enum next_frame state = connection_next(connection, frame);
    if (state == FRAME_COMPLETE) return true;
    if (state == FRAME_BROKEN) {
      errno = EPROTO;
      return false;
    }
    if (!wait_and_fill(connection, deadline_ns)) return false;
  }
}

bool connection_take(struct connection *connection, uint8_t *target, size_t length, uint64_t deadline_ns) {
  while (connection->end - connection->start < length) {
    if (!wait_and_fill(connection, deadline_ns)) return false;
  }
  memcpy(target, connection->input + connection->start, length);
  connection->start += length;
  return true;
}

bool fields_next(struct bytes *rest, uint8_t *tag, struct bytes *value) {
  if (rest->length < PROTOCOL_HEADER_BYTES) return false;
  uint32_t length = read_u32(rest->data + 1);
  if (length > rest->length - PROTOCOL_HEADER_BYTES) return false;
  *tag = rest->data[0];
  *value = (struct bytes){.data = rest->data + PROTOCOL_HEADER_BYTES, .length = length};
  rest->data += PROTOCOL_HEADER_BYTES + length;
  rest->length -= PROTOCOL_HEADER_BYTES + length;
  return true;
}

bool fields_valid(struct bytes payload) {
  uint8_t tag;
  struct bytes value;
  while (fields_next(&payload, &tag, &value)) continue;
  return payload.length == 0;
}

bool field_find(struct bytes payload, uint8_t tag, struct bytes *value) {
  uint8_t found;
  while (fields_next(&payload, &found, value)) {
    if (found == tag) return true;
  }
  return false;
}

uint64_t field_number(struct bytes payload, uint8_t tag, uint64_t otherwise) {
  struct bytes value;
  if (!field_find(payload, tag, &value) || value.length != 8) return otherwise;
  return (uint64_t)read_u32(value.data) | (uint64_t)read_u32(value.data + 4) << 32;
}

bool field_string(struct bytes payload, uint8_t tag, char *target, size_t capacity) {
  struct bytes value;
  if (!field_find(payload, tag, &value)) return false;
  if (value.length == 0 || value.length >= capacity) return false;
  if (memchr(value.data, 0, value.length) != NULL) return false;
  memcpy(target, value.data, value.length);
  target[value.length] = 0;
  return true;
}

void builder_init(struct builder *builder, uint8_t *data, size_t capacity) {
  *builder = (struct builder){.data = data, .capacity = capacity};
}

static uint8_t *builder_room(struct builder *builder, size_t length) {
  if (builder->overflow || builder->capacity - builder->length < length) {
    builder->overflow = true;
    return NULL;
  }
  uint8_t *room = builder->data + builder->length;
  builder->length += length;
  return room;
}

void builder_begin(struct builder *builder, uint8_t type) {
  builder->frame_start = builder->length;
  uint8_t *head = builder_room(builder, PROTOCOL_HEADER_BYTES);
  if (head != NULL) frame_header(head, type, 0);
}

void builder_bytes(struct builder *builder, uint8_t tag, const void *data, size_t length) {
  if (length > PROTOCOL_MAX_PAYLOAD) {
    builder->overflow = true;
    return;
  }
  uint8_t *room = builder_room(builder, PROTOCOL_HEADER_BYTES + length);
  if (room == NULL) return;
  frame_header(room, tag, (uint32_t)length);
  if (length > 0) memcpy(room + PROTOCOL_HEADER_BYTES, data, length);
}

void builder_number(struct builder *builder, uint8_t tag, uint64_t value) {
  uint8_t bytes[8];
  write_u32(bytes, (uint32_t)value);
  write_u32(bytes + 4, (uint32_t)(value >> 32));
  builder_bytes(builder, tag, bytes, sizeof bytes);
}

void builder_text(struct builder *builder, uint8_t tag, const char *text) {
  builder_bytes(builder, tag, text, strlen(text));
}

void builder_end(struct builder *builder) {
  if (builder->overflow) return;
  uint8_t *head = builder->data + builder->frame_start;
  write_u32(head + 1, (uint32_t)(builder->length - builder->frame_start - PROTOCOL_HEADER_BYTES));
}

void frame_header(uint8_t *target, uint8_t type, uint32_t length) {
  target[0] = type;
  write_u32(target + 1, length);
}

static bool wait_writable(int descriptor) {
  struct pollfd ready = {.fd = descriptor, .events = POLLOUT};
  return poll(&ready, 1, -1) >= 0 || errno == EINTR;
}

bool send_all(int descriptor, const void *data, size_t length) {
  const uint8_t *position = data;
  while (length > 0) {
    ssize_t count = send(descriptor, position, length, MSG_NOSIGNAL);
    if (count >= 0) {
      position += count;
      length -= (size_t)count;
    } else if (errno == EAGAIN) {
      if (!wait_writable(descriptor)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool write_all(int descriptor, const void *data, size_t length) {
  const uint8_t *position = data;
  while (length > 0) {
    ssize_t count = write(descriptor, position, length);
    if (count > 0) {
      position += count;
      length -= (size_t)count;
    } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
      return false;
    } else if (errno == EAGAIN && !wait_writable(descriptor)) {
      return false;
    }
  }
  return true;
}

bool send_frame(int descriptor, uint8_t type, const void *payload, size_t length) {
  uint8_t head[PROTOCOL_HEADER_BYTES];
  frame_header(head, type, (uint32_t)length);
  if (length == 0) return send_all(descriptor, head, sizeof head);
  struct iovec parts[2] = {{.iov_base = head, .iov_len = sizeof head},
                           {.iov_base = (void *)(uintptr_t)payload, .iov_len = length}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t sent;
  do {
    sent = sendmsg(descriptor, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno != EAGAIN) return false;
  size_t done = sent < 0 ? 0 : (size_t)sent;
  if (done < sizeof head) {
    if (!send_all(descriptor, head + done, sizeof head - done)) return false;
    done = sizeof head;
  }
  done -= sizeof head;
  return send_all(descriptor, (const uint8_t *)payload + done, length - done);
}

bool send_error(int descriptor, enum error_code code, const char *text) {
  uint8_t data[1024];
  struct builder builder;
  builder_init(&builder, data, sizeof data);
  builder_begin(&builder, FRAME_ERROR);
  builder_number(&builder, FIELD_CODE, code);
  builder_bytes(&builder, FIELD_TEXT, text, strnlen(text, 900));
  builder_end(&builder);
  return send_all(descriptor, data, builder.length);
}

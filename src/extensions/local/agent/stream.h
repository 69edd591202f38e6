/* The state of one attached command, shared by its output half and the rest. */
#ifndef SANDBOXER_STREAM_H
#define SANDBOXER_STREAM_H

#include "agent.h"

/* Background processes can hold the pipes open after the command's end: output is then taken until it pauses
 * this long, and no longer than the second time in all. What the command wrote itself is always delivered. */
#define QUIET_MS 200
#define DRAIN_MS 2000

struct stream {
  struct session *session;
  struct execution *execution;
  uint8_t *buffer;
  size_t pending_start;
  size_t pending_end;
  /* The rest of a frame whose payload goes from the pipe to the client without a copy. */
  int splice_source;
  size_t splice_left;
  bool cannot_splice;
  struct bytes input;
  bool input_ends;
  bool client_gone;
  bool exited;
  bool timed_out;
  bool truncated;
  bool error_first;
  uint64_t output_left;
  uint64_t timeout_ns;
  uint64_t quiet_ns;
  uint64_t drain_ns;
  /* Bytes that were in the pipes when the command ended. */
  int64_t owed;
};

bool output_pending(const struct stream *stream);
/* Sends what the client takes without waiting. */
void output_flush(struct stream *stream);
/* Takes one portion from a pipe or terminal; does nothing while the client has not taken the last one. */
void output_read(struct stream *stream, int *descriptor, uint8_t type);
void close_descriptor(int *descriptor);

#endif

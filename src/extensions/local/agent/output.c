/* Output of an attached command on its way to the client. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream.h"

/* Below this a copy is cheaper than moving pages. */
#define SPLICE_MINIMUM 16384

void close_descriptor(int *descriptor) {
  if (*descriptor >= 0) close(*descriptor);
  *descriptor = -1;
}

bool output_pending(const struct stream *stream) {
  return stream->pending_start < stream->pending_end || stream->splice_left > 0;
}

/* False when the client takes no more now. */
static bool send_buffer(struct stream *stream) {
  int more = stream->splice_left > 0 ? MSG_MORE : 0;
  while (stream->pending_start < stream->pending_end) {
    ssize_t count = send(stream->session->connection.descriptor, stream->buffer + stream->pending_start,
                         stream->pending_end - stream->pending_start, MSG_NOSIGNAL | MSG_DONTWAIT | more);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      if (errno != EAGAIN) stream->client_gone = true;
      return false;
    }
    stream->pending_start += (size_t)count;
  }
  return true;
}

/* The frame's header is out, so its payload must follow: by a copy when the kernel cannot splice. */
static void copy_instead(struct stream *stream) {
  stream->cannot_splice = true;
  ssize_t count = read(stream->splice_source, stream->buffer, stream->splice_left);
  if (count <= 0) {
    stream->client_gone = true;
    return;
  }
  stream->splice_left -= (size_t)count;
  stream->pending_start = 0;
  stream->pending_end = (size_t)count;
}

static bool splice_pipe(struct stream *stream) {
  while (stream->splice_left > 0 && !stream->cannot_splice) {
    ssize_t count = splice(stream->splice_source, NULL, stream->session->connection.descriptor, NULL,
                           stream->splice_left, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (count > 0) {
      stream->splice_left -= (size_t)count;
    } else if (count < 0 && (errno == EINVAL || errno == ENOSYS)) {
      stream->cannot_splice = true;
    } else if (count == 0 || errno != EINTR) {
      /* The bytes are known to be in the pipe, so only the client can be what is not ready. */
      if (count == 0 || errno != EAGAIN) stream->client_gone = true;
      return false;
    }
  }
  return true;
}

void output_flush(struct stream *stream) {
  while (output_pending(stream) && !stream->client_gone) {
    if (!send_buffer(stream) || !splice_pipe(stream)) return;
    if (stream->splice_left > 0) copy_instead(stream);
  }
  /* Time spent waiting for the client is not the command's silence. */
  if (stream->exited) stream->quiet_ns = now_ns() + QUIET_MS * NANOSECONDS_PER_MILLISECOND;
}

/* Cuts to what the limit still allows. */
static size_t apply_limit(struct stream *stream, size_t count) {
  if (stream->execution->output_limit == 0) return count;
  size_t allowed = count < stream->output_left ? count : (size_t)stream->output_left;
  stream->output_left -= allowed;
  if (allowed < count) stream->truncated = true;
  return allowed;
}

/* Starts a frame that carries what lies in the pipe now; false when that is too little to be worth it. */
static bool begin_splice(struct stream *stream, int descriptor, uint8_t type) {
  int available = 0;
  if (stream->cannot_splice || stream->execution->tty || stream->execution->output_limit != 0) return false;
  if (ioctl(descriptor, FIONREAD, &available) != 0 || available < SPLICE_MINIMUM) return false;
  if (available > CHUNK_BYTES) available = CHUNK_BYTES;
  frame_header(stream->buffer, type, (uint32_t)available);
  stream->pending_start = 0;
  stream->pending_end = PROTOCOL_HEADER_BYTES;
  stream->splice_source = descriptor;
  stream->splice_left = (size_t)available;
  stream->owed -= available;
  return true;
}

static bool begin_copy(struct stream *stream, int *descriptor, uint8_t type) {
  ssize_t count = read(*descriptor, stream->buffer + PROTOCOL_HEADER_BYTES, CHUNK_BYTES);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (count <= 0) {
    /* A terminal answers EIO when its last user is gone. */
    close_descriptor(descriptor);
    return false;
  }
  stream->owed -= count;
  size_t allowed = apply_limit(stream, (size_t)count);
  if (allowed == 0) return false;
  frame_header(stream->buffer, type, (uint32_t)allowed);
  stream->pending_start = 0;
  stream->pending_end = PROTOCOL_HEADER_BYTES + allowed;
  return true;
}

void output_read(struct stream *stream, int *descriptor, uint8_t type) {
  if (*descriptor < 0 || output_pending(stream)) return;
  if (!begin_splice(stream, *descriptor, type) && !begin_copy(stream, descriptor, type)) return;
  session_activity(stream->session);
  output_flush(stream);
}

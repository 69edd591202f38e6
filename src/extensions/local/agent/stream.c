/* An attached command: output to the client, input from it, until the command ends or the client is gone.
 * There is one output buffer. While the client has not taken it nothing more is read from the command, so a slow
 * client slows the command and never fills memory. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "stream.h"

enum { POLL_CLIENT, POLL_OUTPUT, POLL_ERROR, POLL_INPUT, POLL_PROCESS, POLL_COUNT };

static void close_input(struct stream *stream) {
  if (stream->execution->tty) {
    /* A terminal has no end of input of its own, only the character for it. */
    char end_of_input = 4;
    ssize_t ignored = write(stream->execution->input_descriptor, &end_of_input, 1);
    (void)ignored;
    return;
  }
  close_descriptor(&stream->execution->input_descriptor);
}

static void feed_input(struct stream *stream) {
  int descriptor = stream->execution->input_descriptor;
  while (descriptor >= 0 && stream->input.length > 0) {
    ssize_t count = write(descriptor, stream->input.data, stream->input.length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) {
      close_descriptor(&stream->execution->input_descriptor);
      break;
    }
    stream->input.data += count;
    stream->input.length -= (size_t)count;
  }
  /* Input nobody reads any more is dropped, as a closed pipe would. */
  if (stream->execution->input_descriptor < 0) stream->input.length = 0;
  if (stream->input_ends && stream->input.length == 0) {
    stream->input_ends = false;
    close_input(stream);
  }
}

static void resize_terminal(struct stream *stream, struct bytes payload) {
  struct winsize size = {.ws_col = (unsigned short)field_number(payload, FIELD_COLUMNS, 80),
                         .ws_row = (unsigned short)field_number(payload, FIELD_ROWS, 24)};
  if (stream->execution->tty) ioctl(stream->execution->output_descriptor, TIOCSWINSZ, &size);
}

/* False when the client breaks the protocol. */
static bool take_frame(struct stream *stream, const struct frame *frame) {
  switch (frame->type) {
    case FRAME_STDIN:
      stream->input = frame->payload;
      feed_input(stream);
      return true;
    case FRAME_STDIN_EOF:
      stream->input_ends = true;
      feed_input(stream);
      return true;
    case FRAME_SIGNAL: {
      uint64_t number = field_number(frame->payload, FIELD_SIGNAL, 0);
      if (number < 1 || number > 64) return false;
      if (!stream->exited) kill(-stream->execution->process, (int)number);
      return true;
    }
    case FRAME_RESIZE:
      resize_terminal(stream, frame->payload);
      return true;
    default:
      return false;
  }
}

/* Takes every complete frame, but stops at input the command has not read: that holds the client back. */
static void take_frames(struct stream *stream) {
  struct frame frame;
  while (stream->input.length == 0 && !stream->client_gone) {
    enum next_frame state = connection_next(&stream->session->connection, &frame);
    if (state == FRAME_NEEDS_MORE) return;
    session_activity(stream->session);
    if (state == FRAME_BROKEN || !take_frame(stream, &frame)) stream->client_gone = true;
  }
}

static void read_client(struct stream *stream) {
  int filled = connection_fill(&stream->session->connection);
  if (filled == 0 || (filled < 0 && errno != EAGAIN && errno != EINTR)) stream->client_gone = true;
  if (filled == 1) take_frames(stream);
}

static void note_exit(struct stream *stream) {
  stream->exited = true;
  stream->owed = 0;
  int descriptors[] = {stream->execution->output_descriptor, stream->execution->error_descriptor};
  for (int index = 0; index < 2; index++) {
    int count = 0;
    if (descriptors[index] >= 0 && ioctl(descriptors[index], FIONREAD, &count) == 0) stream->owed += count;
  }
  uint64_t now = now_ns();
  stream->quiet_ns = now + QUIET_MS * NANOSECONDS_PER_MILLISECOND;
  stream->drain_ns = now + DRAIN_MS * NANOSECONDS_PER_MILLISECOND;
}

static bool is_drained(const struct stream *stream) {
  if (!stream->exited || output_pending(stream)) return false;
  if (stream->execution->output_descriptor < 0 && stream->execution->error_descriptor < 0) return true;
  uint64_t now = now_ns();
  return now >= stream->quiet_ns || (now >= stream->drain_ns && stream->owed <= 0);
}

static uint64_t next_deadline(const struct stream *stream) {
  if (output_pending(stream) && stream->exited) return 0;
  if (stream->exited) return stream->quiet_ns < stream->drain_ns ? stream->quiet_ns : stream->drain_ns;
  return stream->timeout_ns;
}

static void fill_poll(const struct stream *stream, struct pollfd *ready) {
  const struct execution *execution = stream->execution;
  bool pending = output_pending(stream);
  bool feeding = stream->input.length > 0;
  short client = (short)((pending ? POLLOUT : 0) | (feeding ? 0 : POLLIN));
  ready[POLL_CLIENT] = (struct pollfd){.fd = stream->session->connection.descriptor, .events = client};
  ready[POLL_OUTPUT] = (struct pollfd){.fd = pending ? -1 : execution->output_descriptor, .events = POLLIN};
  ready[POLL_ERROR] = (struct pollfd){.fd = pending ? -1 : execution->error_descriptor, .events = POLLIN};
  ready[POLL_INPUT] = (struct pollfd){.fd = feeding ? execution->input_descriptor : -1, .events = POLLOUT};
  ready[POLL_PROCESS] = (struct pollfd){.fd = stream->exited ? -1 : execution->process_descriptor, .events = POLLIN};
}

static void read_outputs(struct stream *stream, const struct pollfd *ready) {
  struct execution *execution = stream->execution;
  bool output = ready[POLL_OUTPUT].revents != 0;
  bool error = ready[POLL_ERROR].revents != 0;
  /* Takes turns, so that a flood on one stream does not hide the other. */
  stream->error_first = !stream->error_first;
  if (error && stream->error_first) output_read(stream, &execution->error_descriptor, FRAME_STDERR);
  if (output) output_read(stream, &execution->output_descriptor, FRAME_STDOUT);
  if (error && !stream->error_first) output_read(stream, &execution->error_descriptor, FRAME_STDERR);
}

static bool stream_turn(struct stream *stream) {
  struct pollfd ready[POLL_COUNT];
  fill_poll(stream, ready);
  if (poll(ready, POLL_COUNT, milliseconds_until(next_deadline(stream))) < 0) return errno == EINTR;
  if (ready[POLL_CLIENT].revents & (POLLERR | POLLHUP | POLLNVAL)) stream->client_gone = true;
  if (ready[POLL_CLIENT].revents & POLLIN) read_client(stream);
  if (ready[POLL_CLIENT].revents & POLLOUT) output_flush(stream);
  if (ready[POLL_INPUT].revents != 0) {
    feed_input(stream);
    take_frames(stream);
  }
  read_outputs(stream, ready);
  if (ready[POLL_PROCESS].revents != 0) note_exit(stream);
  if (stream->timeout_ns != 0 && !stream->timed_out && !stream->exited && now_ns() >= stream->timeout_ns) {
    stream->timed_out = true;
    stream->timeout_ns = 0;
    kill_command(stream->session, stream->execution->process);
  }
  return !stream->client_gone && !is_drained(stream);
}

static bool send_exit(const struct stream *stream, int status) {
  uint8_t data[128];
  struct builder answer;
  int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  builder_init(&answer, data, sizeof data);
  builder_begin(&answer, FRAME_EXIT);
  builder_number(&answer, FIELD_EXIT_CODE, (uint64_t)(number > 0 ? 128 + number : WEXITSTATUS(status)));
  builder_number(&answer, FIELD_SIGNAL, (uint64_t)number);
  builder_number(&answer, FIELD_TIMED_OUT, stream->timed_out);
  builder_number(&answer, FIELD_TRUNCATED, stream->truncated);
  builder_end(&answer);
  return send_all(stream->session->connection.descriptor, data, answer.length);
}

static bool send_started(const struct stream *stream) {
  uint8_t data[32];
  struct builder answer;
  builder_init(&answer, data, sizeof data);
  builder_begin(&answer, FRAME_STARTED);
  builder_number(&answer, FIELD_PROCESS, (uint64_t)stream->execution->process);
  builder_end(&answer);
  return send_all(stream->session->connection.descriptor, data, answer.length);
}

bool stream_run(struct session *session, struct execution *execution) {
  size_t size = PROTOCOL_HEADER_BYTES + CHUNK_BYTES;
  void *buffer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct stream stream = {.session = session, .execution = execution, .buffer = buffer,
                          .output_left = execution->output_limit};
  if (execution->timeout_ms > 0 && execution->timeout_ms < UINT64_MAX / NANOSECONDS_PER_MILLISECOND / 2) {
    stream.timeout_ns = now_ns() + execution->timeout_ms * NANOSECONDS_PER_MILLISECOND;
  }
  stream.client_gone = buffer == MAP_FAILED || !send_started(&stream);
  take_frames(&stream);
  while (!stream.client_gone && stream_turn(&stream)) continue;
  if (stream.client_gone && !stream.exited) kill_command(session, execution->process);
  int status = reap_command(session, execution->process);
  if (buffer != MAP_FAILED) munmap(buffer, size);
  return !stream.client_gone && send_exit(&stream, status);
}

/* The handler of one connection: handshake, a request, and another one after some kinds of them. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"

/* After an error the client may still be sending; its bytes are taken for a while so that the close does not
 * reset the connection before the error was read. */
#define LINGER_MS 2000
/* How long a connection may wait for its next request. */
#define NEXT_REQUEST_MS 2000
#define LINGER_BYTES (64ULL * 1024 * 1024)

void session_activity(struct session *session) {
  __atomic_store_n(&session->agent->shared->last_activity_ns, now_ns(), __ATOMIC_RELAXED);
}

void session_set_kind(struct session *session, enum slot_kind kind) {
  __atomic_store_n(&session->slot->kind, (uint32_t)kind, __ATOMIC_RELAXED);
}

void session_set_command(struct session *session, pid_t command) {
  __atomic_store_n(&session->slot->command, command, __ATOMIC_SEQ_CST);
}

void session_wake(struct session *session) {
  uint64_t one = 1;
  ssize_t ignored = write(session->agent->wake_descriptor, &one, sizeof one);
  (void)ignored;
}

static bool token_matches(const uint8_t *expected, const uint8_t *given) {
  /* Looks at every byte whatever the first difference is. */
  volatile uint8_t difference = 0;
  for (size_t index = 0; index < PROTOCOL_TOKEN_BYTES; index++) {
    difference = (uint8_t)(difference | (expected[index] ^ given[index]));
  }
  return difference == 0;
}

static bool greet(struct session *session, uint64_t deadline) {
  int descriptor = session->connection.descriptor;
  uint8_t magic[PROTOCOL_MAGIC_BYTES];
  struct frame frame;
  if (!connection_take(&session->connection, magic, sizeof magic, deadline)) return false;
  if (memcmp(magic, PROTOCOL_MAGIC, sizeof magic) != 0) return false;
  if (!connection_wait(&session->connection, &frame, deadline)) return false;
  if (frame.type != FRAME_HELLO || !fields_valid(frame.payload)) {
    send_error(descriptor, ERROR_INVALID, "the first frame must be HELLO");
    return false;
  }
  struct bytes token;
  if (!field_find(frame.payload, FIELD_TOKEN, &token) || token.length != PROTOCOL_TOKEN_BYTES ||
      !token_matches(session->agent->token, token.data)) {
    send_error(descriptor, ERROR_UNAUTHENTICATED, "wrong token");
    return false;
  }
  if (field_number(frame.payload, FIELD_VERSION, 0) != PROTOCOL_VERSION) {
    send_error(descriptor, ERROR_UNSUPPORTED, "this agent speaks protocol version 1");
    return false;
  }
  return true;
}

/* False: the request was of a kind that ends its connection, or nobody is there any more. */
static bool dispatch_activity(struct session *session, const struct frame *frame) {
  bool goes_on = false;
  session_set_kind(session, SLOT_ATTACHED);
  session_activity(session);
  if (frame->type == FRAME_EXEC) {
    goes_on = execute_run(session, frame->payload);
  } else if (frame->type == FRAME_FORWARD) {
    forward_run(session, frame->payload);
  } else {
    files_run(session, frame->type, frame->payload);
  }
  session_activity(session);
  session_set_kind(session, SLOT_CONTROL);
  return goes_on;
}

static bool dispatch(struct session *session, const struct frame *frame) {
  switch (frame->type) {
    case FRAME_STATUS:
      return control_status(session);
    case FRAME_SET_DEADLINE:
      control_set_deadline(session, frame->payload);
      return false;
    case FRAME_SHUTDOWN:
      control_shutdown(session);
      return false;
    case FRAME_SIGNAL_COMMAND:
      control_signal_command(session, frame->payload);
      return false;
    default:
      return dispatch_activity(session, frame);
  }
}

static void linger(struct session *session) {
  struct connection *connection = &session->connection;
  uint64_t deadline = now_ns() + LINGER_MS * NANOSECONDS_PER_MILLISECOND;
  struct timeval wait = {.tv_sec = LINGER_MS / 1000};
  shutdown(connection->descriptor, SHUT_WR);
  setsockopt(connection->descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  for (uint64_t taken = 0; taken < LINGER_BYTES && now_ns() < deadline; taken += connection->end) {
    connection->start = connection->end = 0;
    if (connection_fill(connection) != 1) return;
  }
}

static void serve_requests(struct session *session, uint64_t deadline) {
  struct frame request;
  while (connection_wait(&session->connection, &request, deadline)) {
    if (!fields_valid(request.payload)) {
      send_error(session->connection.descriptor, ERROR_INVALID, "the request's fields are broken");
      return;
    }
    if (!dispatch(session, &request)) return;
    deadline = now_ns() + NEXT_REQUEST_MS * NANOSECONDS_PER_MILLISECOND;
  }
  if (errno == EPROTO) {
    send_error(session->connection.descriptor, ERROR_INVALID, "the request is longer than a frame may be");
  }
}

void session_run(struct agent *agent, struct slot *slot, int descriptor) {
  struct session session = {.agent = agent, .slot = slot};
  close(agent->listen_descriptor);
  close(agent->timer_descriptor);
  close(agent->signal_descriptor);
  if (!connection_open(&session.connection, descriptor)) _exit(1);
  uint64_t deadline = now_ns() + HANDSHAKE_MS * NANOSECONDS_PER_MILLISECOND;
  bool welcome = greet(&session, deadline);
  /* Neither copy of the token is needed any more, and none may reach a command's process. */
  explicit_bzero(agent->token, sizeof agent->token);
  explicit_bzero(session.connection.input, session.connection.start);
  if (welcome) serve_requests(&session, deadline);
  linger(&session);
  _exit(0);
}

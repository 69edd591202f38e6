/* A connection to a port inside: after OK the socket carries plain bytes in both directions. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"

#define RELAY_BYTES 65536
#define CONNECT_MS 5000

/* One direction: what was read and not yet written. */
struct relay {
  int source;
  int target;
  uint8_t *data;
  size_t start;
  size_t end;
  bool source_ended;
  bool target_closed;
};

static bool finish_connect(int descriptor) {
  struct pollfd ready = {.fd = descriptor, .events = POLLOUT};
  int number = ETIMEDOUT;
  socklen_t length = sizeof number;
  if (poll(&ready, 1, CONNECT_MS) == 1) getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &length);
  errno = number;
  return number == 0;
}

static int connect_address(const struct sockaddr *address, socklen_t length) {
  int descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -1;
  if (connect(descriptor, address, length) == 0) return descriptor;
  if (errno == EINPROGRESS && finish_connect(descriptor)) return descriptor;
  int number = errno;
  close(descriptor);
  errno = number;
  return -1;
}

/* Servers that bind "localhost" may listen on either loopback address. */
static int connect_port(uint16_t port) {
  struct sockaddr_in first = {.sin_family = AF_INET, .sin_port = htons(port)};
  first.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int descriptor = connect_address((struct sockaddr *)&first, sizeof first);
  if (descriptor >= 0 || errno != ECONNREFUSED) return descriptor;
  struct sockaddr_in6 second = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  second.sin6_addr = in6addr_loopback;
  descriptor = connect_address((struct sockaddr *)&second, sizeof second);
  if (descriptor < 0) errno = ECONNREFUSED;
  return descriptor;
}

static bool is_empty(const struct relay *relay) { return relay->start == relay->end; }

static bool relay_read(struct relay *relay) {
  ssize_t count = read(relay->source, relay->data, RELAY_BYTES);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  relay->start = 0;
  relay->end = (size_t)count;
  relay->source_ended = count == 0;
  return true;
}

static bool relay_write(struct relay *relay) {
  if (!is_empty(relay)) {
    ssize_t count = send(relay->target, relay->data + relay->start, relay->end - relay->start, MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    relay->start += (size_t)count;
  }
  if (is_empty(relay) && relay->source_ended && !relay->target_closed) {
    relay->target_closed = true;
    shutdown(relay->target, SHUT_WR);
  }
  return true;
}

static short wanted_events(const struct relay *incoming, const struct relay *outgoing) {
  /* On one descriptor: read for `incoming`, write for `outgoing`. */
  short events = 0;
  if (!incoming->source_ended && is_empty(incoming)) events |= POLLIN;
  if (!is_empty(outgoing)) events |= POLLOUT;
  return events;
}

static bool relay_turn(struct relay *relays, const struct pollfd *ready) {
  for (int index = 0; index < 2; index++) {
    struct relay *relay = &relays[index];
    bool readable = (ready[index].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
    if (readable && !relay->source_ended && is_empty(relay) && !relay_read(relay)) return false;
    if (!relay_write(relay)) return false;
  }
  return true;
}

static void relay_run(struct session *session, struct relay *relays) {
  while (!relays[0].target_closed || !relays[1].target_closed) {
    struct pollfd ready[2] = {{.fd = relays[0].source, .events = wanted_events(&relays[0], &relays[1])},
                              {.fd = relays[1].source, .events = wanted_events(&relays[1], &relays[0])}};
    /* A side that wants nothing is left out: its hang-up would otherwise wake the loop for nothing. */
    if (ready[0].events == 0) ready[0].fd = -1;
    if (ready[1].events == 0) ready[1].fd = -1;
    if (poll(ready, 2, -1) < 0 && errno != EINTR) return;
    if (!relay_turn(relays, ready)) return;
    session_activity(session);
  }
}

void forward_run(struct session *session, struct bytes payload) {
  static uint8_t outward[RELAY_BYTES];
  struct connection *connection = &session->connection;
  uint64_t port = field_number(payload, FIELD_PORT, 0);
  if (port < 1 || port > 65535) {
    send_error(connection->descriptor, ERROR_INVALID, "the port must be between 1 and 65535");
    return;
  }
  int inside = become_user(session->agent) ? connect_port((uint16_t)port) : -1;
  if (inside < 0) {
    enum error_code code = errno == ECONNREFUSED ? ERROR_NOT_FOUND : error_for_errno(errno);
    send_error(connection->descriptor, code, "nothing answers on this port inside");
    return;
  }
  if (!send_frame(connection->descriptor, FRAME_OK, NULL, 0)) return;
  fcntl(connection->descriptor, F_SETFL, O_NONBLOCK);
  struct relay relays[2] = {{.source = connection->descriptor, .target = inside, .data = connection->input,
                             .start = connection->start, .end = connection->end},
                            {.source = inside, .target = connection->descriptor, .data = outward}};
  relay_run(session, relays);
  close(inside);
}

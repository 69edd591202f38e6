#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

#define CONFIG_CAPACITY 4096
#define DEFAULT_LOG_LIMIT (8ULL * 1024 * 1024)

static ssize_t read_config(uint8_t *data, size_t capacity) {
  size_t length = 0;
  while (length < capacity) {
    ssize_t count = read(DESCRIPTOR_CONFIG, data + length, capacity - length);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -1;
    if (count == 0) break;
    length += (size_t)count;
  }
  return (ssize_t)length;
}

bool agent_read_config(struct agent *agent) {
  uint8_t data[CONFIG_CAPACITY];
  ssize_t length = read_config(data, sizeof data);
  close(DESCRIPTOR_CONFIG);
  if (length <= 0) return false;
  struct bytes payload = {.data = data, .length = (size_t)length};
  struct bytes token;
  if (!fields_valid(payload) || !field_find(payload, FIELD_TOKEN, &token)) return false;
  if (token.length != PROTOCOL_TOKEN_BYTES) return false;
  memcpy(agent->token, token.data, sizeof agent->token);
  uint64_t cap = field_number(payload, FIELD_CAP_NS, 0);
  uint64_t deadline = field_number(payload, FIELD_DEADLINE_NS, 0);
  /* A sandbox without an end does not exist. */
  if (cap == 0 || deadline == 0) return false;
  agent->shared->cap_ns = cap;
  agent->shared->deadline_ns = deadline < cap ? deadline : cap;
  agent->ranged = field_number(payload, FIELD_IDENTITY, IDENTITY_SINGLE) == IDENTITY_RANGED;
  agent->log_limit = field_number(payload, FIELD_LOG_LIMIT, DEFAULT_LOG_LIMIT);
  agent->process_limit = field_number(payload, FIELD_PROCESS_LIMIT, 0);
  uint64_t sessions = field_number(payload, FIELD_MAX_SESSIONS, SESSIONS_LIMIT);
  agent->max_sessions = sessions >= 1 && sessions <= SESSIONS_LIMIT ? (uint32_t)sessions : SESSIONS_LIMIT;
  explicit_bzero(data, sizeof data);
  return true;
}

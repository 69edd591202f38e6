/* Requests about the sandbox itself; none of them counts as activity. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent.h"

/* A fork bomb must not make STATUS slow: beyond this many processes the sums stop. */
#define PROCESSES_COUNTED 4096

static uint64_t resident_bytes(const char *process) {
  char path[64];
  char text[128];
  snprintf(path, sizeof path, "/proc/%.20s/statm", process);
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return 0;
  ssize_t length = read(descriptor, text, sizeof text - 1);
  close(descriptor);
  if (length <= 0) return 0;
  text[length] = 0;
  unsigned long long total = 0;
  unsigned long long resident = 0;
  if (sscanf(text, "%llu %llu", &total, &resident) != 2) return 0;
  return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t count_processes(uint64_t *memory) {
  uint64_t count = 0;
  DIR *directory = opendir("/proc");
  if (directory == NULL) return 0;
  for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
    if (!isdigit((unsigned char)entry->d_name[0])) continue;
    count++;
    *memory += resident_bytes(entry->d_name);
    if (count >= PROCESSES_COUNTED) break;
  }
  closedir(directory);
  return count;
}

static uint64_t milliseconds_between(uint64_t later, uint64_t earlier) {
  return later > earlier ? (later - earlier) / NANOSECONDS_PER_MILLISECOND : 0;
}

static uint64_t count_kind(const struct agent *agent, enum slot_kind kind) {
  uint64_t count = 0;
  for (uint32_t index = 0; index < agent->max_sessions; index++) {
    if (__atomic_load_n(&agent->shared->slots[index].kind, __ATOMIC_RELAXED) == (uint32_t)kind) count++;
  }
  return count;
}

bool control_status(struct session *session) {
  struct shared_state *shared = session->agent->shared;
  uint8_t data[512];
  struct builder answer;
  uint64_t now = now_ns();
  uint64_t memory = 0;
  uint64_t processes = count_processes(&memory);
  builder_init(&answer, data, sizeof data);
  builder_begin(&answer, FRAME_OK);
  builder_number(&answer, FIELD_VERSION, PROTOCOL_VERSION);
  builder_number(&answer, FIELD_UPTIME_MS, milliseconds_between(now, shared->started_ns));
  builder_number(&answer, FIELD_REMAINING_MS, milliseconds_between(shared->deadline_ns, now));
  builder_number(&answer, FIELD_CAP_MS, milliseconds_between(shared->cap_ns, now));
  builder_number(&answer, FIELD_IDLE_MS, milliseconds_between(now, shared->last_activity_ns));
  builder_number(&answer, FIELD_SESSIONS, count_kind(session->agent, SLOT_ATTACHED));
  builder_number(&answer, FIELD_DETACHED, count_kind(session->agent, SLOT_DETACHED));
  builder_number(&answer, FIELD_COMMANDS, shared->commands_total);
  /* Handlers that answer or wait are not part of the load. */
  uint64_t waiting = count_kind(session->agent, SLOT_CONTROL);
  builder_number(&answer, FIELD_PROCESSES, processes > waiting ? processes - waiting : 0);
  builder_number(&answer, FIELD_MEMORY, memory);
  builder_number(&answer, FIELD_AGENT_MEMORY, resident_bytes("1"));
  builder_end(&answer);
  return send_all(session->connection.descriptor, data, answer.length);
}

void control_set_deadline(struct session *session, struct bytes payload) {
  struct shared_state *shared = session->agent->shared;
  uint64_t missing = UINT64_MAX;
  uint64_t remaining = field_number(payload, FIELD_REMAINING_MS, missing);
  if (remaining == missing) {
    send_error(session->connection.descriptor, ERROR_INVALID, "remaining time is missing");
    return;
  }
  uint64_t now = now_ns();
  uint64_t longest = shared->cap_ns > now ? shared->cap_ns - now : 0;
  uint64_t granted = longest;
  if (remaining < longest / NANOSECONDS_PER_MILLISECOND) granted = remaining * NANOSECONDS_PER_MILLISECOND;
  uint8_t data[64];
  struct builder answer;
  builder_init(&answer, data, sizeof data);
  builder_begin(&answer, FRAME_OK);
  builder_number(&answer, FIELD_REMAINING_MS, granted / NANOSECONDS_PER_MILLISECOND);
  builder_end(&answer);
  __atomic_store_n(&shared->deadline_ns, now + granted, __ATOMIC_SEQ_CST);
  send_all(session->connection.descriptor, data, answer.length);
  session_wake(session);
}

void control_shutdown(struct session *session) {
  send_frame(session->connection.descriptor, FRAME_OK, NULL, 0);
  __atomic_store_n(&session->agent->shared->shutdown_requested, 1, __ATOMIC_SEQ_CST);
  session_wake(session);
}

void control_signal_command(struct session *session, struct bytes payload) {
  const struct agent *agent = session->agent;
  int descriptor = session->connection.descriptor;
  uint64_t process = field_number(payload, FIELD_PROCESS, 0);
  uint64_t number = field_number(payload, FIELD_SIGNAL, 0);
  if (process <= 1 || process > INT32_MAX || number < 1 || number > 64) {
    send_error(descriptor, ERROR_INVALID, "no such process or signal number");
    return;
  }
  /* Only commands this agent started: an id alone proves nothing. */
  for (uint32_t index = 0; index < agent->max_sessions; index++) {
    pid_t command = __atomic_load_n(&agent->shared->slots[index].command, __ATOMIC_SEQ_CST);
    if ((uint64_t)command != process) continue;
    if (kill(-command, (int)number) == 0) {
      send_frame(descriptor, FRAME_OK, NULL, 0);
      return;
    }
  }
  send_error(descriptor, ERROR_NOT_FOUND, "no running command has this process id");
}

/* What the parts of the agent inside the sandbox share. */
#ifndef SANDBOXER_AGENT_H
#define SANDBOXER_AGENT_H

#include <linux/capability.h>
#include <sys/types.h>

#include "wire.h"

/* The launcher puts the inherited descriptors at these places. */
enum inherited_descriptor {
  DESCRIPTOR_LISTEN = 3,
  DESCRIPTOR_CONFIG = 4,
  DESCRIPTOR_LOG = 5,
};

#define SESSIONS_LIMIT 256
#define HANDSHAKE_MS 5000
#define USER_ID 1000
#define PATH_CAPACITY 4096
/* Payload of one data frame; the buffer adds the header in front. */
#define CHUNK_BYTES PROTOCOL_MAX_PAYLOAD

enum slot_kind { SLOT_IDLE = 0, SLOT_CONTROL = 1, SLOT_ATTACHED = 2, SLOT_DETACHED = 3 };

/* One session handler. The handler writes `command` and `kind`, pid 1 writes `handler`. */
struct slot {
  pid_t handler;
  pid_t command;
  uint32_t kind;
};

/* Lives in one shared mapping of pid 1 and its handlers; commands never have it. Times are boot time. */
struct shared_state {
  uint64_t started_ns;
  uint64_t deadline_ns;
  uint64_t cap_ns;
  uint64_t last_activity_ns;
  uint64_t commands_total;
  uint64_t log_bytes;
  uint32_t shutdown_requested;
  struct slot slots[SESSIONS_LIMIT];
};

struct agent {
  int listen_descriptor;
  int log_descriptor;
  int timer_descriptor;
  int wake_descriptor;
  int signal_descriptor;
  bool ranged;
  uint32_t max_sessions;
  uint64_t log_limit;
  uint64_t process_limit;
  uint8_t token[PROTOCOL_TOKEN_BYTES];
  struct shared_state *shared;
};

struct session {
  struct agent *agent;
  struct slot *slot;
  struct connection connection;
};

int agent_main(void);
bool agent_read_config(struct agent *agent);
bool install_seccomp_filter(void);

/* Runs one connection in its own process; never returns. */
void session_run(struct agent *agent, struct slot *slot, int descriptor) __attribute__((noreturn));
void session_activity(struct session *session);
void session_set_kind(struct session *session, enum slot_kind kind);
void session_set_command(struct session *session, pid_t command);
void session_wake(struct session *session);

/* False when the client is gone. */
bool control_status(struct session *session);
void control_set_deadline(struct session *session, struct bytes payload);
void control_shutdown(struct session *session);
void control_signal_command(struct session *session, struct bytes payload);

/* What the agent needs to become the user, to kill and to hand out terminals; commands get none or a part. */
#define AGENT_CAPABILITIES                                                                                     \
  (1ULL << CAP_SETUID | 1ULL << CAP_SETGID | 1ULL << CAP_SETPCAP | 1ULL << CAP_KILL | 1ULL << CAP_CHOWN |       \
   1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FOWNER)
/* Gives up every other capability, now and for programs executed later. */
bool keep_capabilities(uint64_t capabilities);
/* Becomes the unprivileged user without capabilities; false with errno. */
bool become_user(const struct agent *agent);
/* Becomes root inside with the short list of capabilities; only in ranged mode. */
bool become_limited_root(void);

void files_run(struct session *session, uint8_t type, struct bytes payload);
void directory_list(struct session *session, const char *path);
void directory_remove(struct session *session, const char *path, bool recursive);
bool directory_make(const char *path, unsigned mode, bool parents);
void forward_run(struct session *session, struct bytes payload);

struct execution {
  /* Holds the text of arguments and environment. */
  char *text;
  char **arguments;
  char **environment;
  char directory[PATH_CAPACITY];
  bool as_root;
  bool tty;
  bool detach;
  bool input;
  uint16_t columns;
  uint16_t rows;
  uint64_t timeout_ms;
  uint64_t output_limit;
  pid_t process;
  int process_descriptor;
  int input_descriptor;
  int output_descriptor;
  int error_descriptor;
};

/* True when the command ended and its connection can take another request. */
bool execute_run(struct session *session, struct bytes payload);
/* Starts the command; on failure an ERROR was sent and false comes back. */
bool spawn_command(struct session *session, struct execution *execution);
/* False when the client is gone. */
bool stream_run(struct session *session, struct execution *execution);
void detached_run(struct session *session, struct execution *execution) __attribute__((noreturn));
/* Takes the exit status; the slot is cleared before the id can be used again. */
int reap_command(struct session *session, pid_t process);
/* Kills the command's process group and what else belongs to its session, such as jobs of a shell. */
void kill_command(struct session *session, pid_t process);

#endif

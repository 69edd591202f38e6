/* What the two halves of the launcher share. */
#ifndef SANDBOXER_LAUNCH_H
#define SANDBOXER_LAUNCH_H

#include <sys/types.h>

#include "wire.h"

#define LAUNCH_PATH 4096
#define IDENTITY_COUNT 65536
#define BOX_STEPS_LIMIT 64
/* What is shown inside never grants rights by its files and holds no devices. */
#define USUAL_ATTRIBUTES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

struct launch_request {
  uint64_t identifier;
  bool ranged;
  uint32_t id_base;
  /* Who the launcher is; inside a new user namespace nobody can tell any more. */
  uid_t user;
  gid_t group;
  /* A user namespace with the ids of the sandbox, for what several sandboxes share; -1 where nothing is. */
  int identities;
  char directory[LAUNCH_PATH];
  /* All fields of the request, for those that repeat. */
  struct bytes payload;
};

/* Opened by the launcher, inherited by the sandbox, closed by the launcher. */
struct launch_descriptors {
  int directory;
  int listener;
  int config;
  int sandbox_log;
  int launch_log;
};

/* READY: the file system of the sandbox stands, and its first process waits for its user ids. */
enum report_kind { REPORT_READY = 1, REPORT_FAILURE = 2 };

/* From the new process to the launcher, through a pipe that the exec closes. */
struct launch_report {
  int32_t kind;
  int32_t value;
  char step[56];
};

int launch_main(void);
bool launch_open(const struct launch_request *request, struct launch_descriptors *descriptors, const char **step);
void launch_close(struct launch_descriptors *descriptors);
/* The sandbox's first process, in its namespaces already: builds what is inside and becomes the agent. */
void launch_child(const struct launch_request *request, const struct launch_descriptors *descriptors, int report,
                  int start) __attribute__((noreturn));
/* Builds the file system of the sandbox and moves into it; false with errno and the step that failed. */
bool launch_box(const struct launch_request *request, char *step, size_t capacity);
/* Whether a step of the request shows what several sandboxes share. */
bool launch_shares(struct bytes payload);
/* See `identities`; -1 with errno. */
int launch_open_identities(uint32_t id_base);
/* A mount that hangs nowhere yet: `shared` as it is, what is changed in `upper`; -1 with errno. */
int launch_open_layer(int identities, const char *shared, const char *upper, const char *work);
bool launch_configure(int context, const char *key, const char *value);
/* A mounted file system that hangs nowhere yet, or -1 with errno. */
int launch_finish_context(int context, bool configured, uint64_t attributes);
bool launch_map_identities(pid_t process, uint32_t id_base);
bool launch_write_pid_file(int directory, pid_t process);

#endif

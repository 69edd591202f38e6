/* What the two halves of the launcher share. */
#ifndef SANDBOXER_LAUNCH_H
#define SANDBOXER_LAUNCH_H

#include <sys/types.h>

#include "wire.h"

#define LAUNCH_PATH 4096
#define IDENTITY_COUNT 65536
#define BOX_STEPS_LIMIT 64

struct launch_request {
  uint64_t identifier;
  bool ranged;
  uint32_t id_base;
  /* Who the launcher is; inside a new user namespace nobody can tell any more. */
  uid_t user;
  gid_t group;
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
bool launch_map_identities(pid_t process, uint32_t id_base);
bool launch_write_pid_file(int directory, pid_t process);

#endif

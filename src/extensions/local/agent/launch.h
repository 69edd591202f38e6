/* What the two halves of the launcher share. */
#ifndef SANDBOXER_LAUNCH_H
#define SANDBOXER_LAUNCH_H

#include <sys/types.h>

#include "wire.h"

#define LAUNCH_PATH 4096
#define IDENTITY_COUNT 65536
#define STAGED_LIMIT 8
/* Staged sources appear here, numbered from 0, in a mount namespace of the sandbox's own. */
#define STAGE_DIRECTORY "/tmp"

struct launch_request {
  uint64_t identifier;
  bool ranged;
  uint32_t id_base;
  char directory[LAUNCH_PATH];
  char bwrap[LAUNCH_PATH];
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
  int arguments;
};

enum report_kind { REPORT_PROCESS = 1, REPORT_FAILURE = 2 };

/* From the new process to the launcher, through a pipe that the exec closes. */
struct launch_report {
  int32_t kind;
  int32_t value;
  char step[56];
};

int launch_main(void);
bool launch_open(const struct launch_request *request, struct launch_descriptors *descriptors, const char **step);
void launch_close(struct launch_descriptors *descriptors);
/* The process that becomes bwrap. */
void launch_child(const struct launch_request *request, const struct launch_descriptors *descriptors, int report,
                  int start) __attribute__((noreturn));
bool launch_join_cgroups(struct bytes payload);
bool launch_map_identities(pid_t process, uint32_t id_base);
bool launch_write_pid_file(int directory, pid_t process);

#endif

/* Giving up rights before anything a client asked for happens. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"

#define HIGHEST_CAPABILITY 63

static bool set_capabilities(uint64_t capabilities) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2] = {0};
  for (int half = 0; half < 2; half++) {
    data[half].effective = data[half].permitted = (uint32_t)(capabilities >> (32 * half));
  }
  return syscall(SYS_capset, &header, data) == 0;
}

/* The first number that this kernel does not know ends the list. */
static bool drop_from_bounding_set(uint64_t capabilities) {
  for (int capability = 0; capability <= HIGHEST_CAPABILITY; capability++) {
    if ((capabilities >> capability & 1) == 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return errno == EINVAL;
  }
  return true;
}

static bool clear_ambient(void) {
  return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 || errno == EINVAL;
}

/* A command starts from the agent, whose bounding set holds no more than the agent's own capabilities. */
bool become_user(const struct agent *agent) {
  if (!clear_ambient()) return false;
  if (agent->ranged) {
    gid_t group = USER_ID;
    if (!drop_from_bounding_set(AGENT_CAPABILITIES)) return false;
    if (setgroups(1, &group) != 0) return false;
    if (setresgid(USER_ID, USER_ID, USER_ID) != 0) return false;
    if (setresuid(USER_ID, USER_ID, USER_ID) != 0) return false;
  }
  return set_capabilities(0);
}

bool keep_capabilities(uint64_t capabilities) {
  return clear_ambient() && drop_from_bounding_set(~capabilities) && set_capabilities(capabilities);
}

bool become_limited_root(void) {
  uint64_t keep = 1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FOWNER | 1ULL << CAP_SETUID |
                  1ULL << CAP_SETGID | 1ULL << CAP_KILL;
  gid_t group = 0;
  return setgroups(1, &group) == 0 && clear_ambient() && drop_from_bounding_set(AGENT_CAPABILITIES & ~keep) &&
         set_capabilities(keep);
}

/* Ending a command together with what it started. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

#define PROCESSES_LOOKED_AT 8192

/* Field 6 of stat, counted after the name, which may hold anything. */
static pid_t session_of(const char *process) {
  char path[64];
  char text[512];
  snprintf(path, sizeof path, "/proc/%.20s/stat", process);
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return -1;
  ssize_t length = read(descriptor, text, sizeof text - 1);
  close(descriptor);
  if (length <= 0) return -1;
  text[length] = 0;
  const char *position = strrchr(text, ')');
  for (int field = 2; field < 6 && position != NULL; field++) position = strchr(position + 1, ' ');
  return position == NULL ? -1 : (pid_t)strtol(position + 1, NULL, 10);
}

void kill_command(struct session *session, pid_t process) {
  if (__atomic_load_n(&session->slot->command, __ATOMIC_SEQ_CST) != process) return;
  kill(-process, SIGKILL);
  DIR *directory = opendir("/proc");
  if (directory == NULL) return;
  int count = 0;
  for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
    if (!isdigit((unsigned char)entry->d_name[0])) continue;
    if (++count > PROCESSES_LOOKED_AT) break;
    /* The command is not yet reaped, so its id, and with it the session's, belongs to nobody else. */
    if (session_of(entry->d_name) == process) kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
  }
  closedir(directory);
}

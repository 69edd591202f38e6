/* EXEC: reads the request, then hands over to the stream or the detached loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "stream.h"

#define ARGUMENTS_LIMIT 8192
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define DEFAULT_VARIABLES 5

static size_t count_fields(struct bytes payload, uint8_t wanted) {
  size_t count = 0;
  uint8_t tag;
  struct bytes value;
  while (fields_next(&payload, &tag, &value)) count += tag == wanted;
  return count;
}

/* Appends the fields with this tag, their text one after the other at `*text`; false when one is no valid string. */
static bool append_fields(struct bytes payload, uint8_t wanted, char **text, char **list, size_t *length) {
  uint8_t tag;
  struct bytes value;
  while (fields_next(&payload, &tag, &value)) {
    if (tag != wanted) continue;
    if (memchr(value.data, 0, value.length) != NULL) return false;
    memcpy(*text, value.data, value.length);
    (*text)[value.length] = 0;
    list[(*length)++] = *text;
    *text += value.length + 1;
  }
  list[*length] = NULL;
  return true;
}

static bool read_arguments(struct execution *execution, struct bytes payload, char **text) {
  size_t count = count_fields(payload, FIELD_ARGUMENT);
  if (count == 0 || count > ARGUMENTS_LIMIT) return false;
  execution->arguments = calloc(count + 1, sizeof(char *));
  size_t length = 0;
  if (execution->arguments == NULL || !append_fields(payload, FIELD_ARGUMENT, text, execution->arguments, &length)) {
    return false;
  }
  return execution->arguments[0][0] != 0;
}

static bool same_name(const char *left, const char *right) {
  size_t length = strcspn(left, "=");
  return length == strcspn(right, "=") && strncmp(left, right, length) == 0;
}

/* A later variable replaces an earlier one of the same name. */
static void drop_replaced(char **list) {
  size_t kept = 0;
  for (size_t index = 0; list[index] != NULL; index++) {
    bool replaced = false;
    for (size_t later = index + 1; list[later] != NULL && !replaced; later++) {
      replaced = same_name(list[index], list[later]);
    }
    if (!replaced) list[kept++] = list[index];
  }
  list[kept] = NULL;
}

static bool read_environment(struct execution *execution, struct bytes payload, char **text) {
  static char path[] = DEFAULT_PATH;
  static char user_home[] = "HOME=/home/user";
  static char root_home[] = "HOME=/root";
  static char user_name[] = "USER=user";
  static char root_name[] = "USER=root";
  static char language[] = "LANG=C.UTF-8";
  static char terminal[] = "TERM=xterm-256color";
  size_t count = count_fields(payload, FIELD_ENVIRONMENT);
  if (count > ARGUMENTS_LIMIT / 8) return false;
  char **list = calloc(count + DEFAULT_VARIABLES + 1, sizeof(char *));
  execution->environment = list;
  if (list == NULL) return false;
  size_t length = 0;
  list[length++] = path;
  list[length++] = execution->as_root ? root_home : user_home;
  list[length++] = execution->as_root ? root_name : user_name;
  list[length++] = language;
  if (execution->tty) list[length++] = terminal;
  size_t given = length;
  if (!append_fields(payload, FIELD_ENVIRONMENT, text, list, &length)) return false;
  for (size_t index = given; index < length; index++) {
    const char *sign = strchr(list[index], '=');
    if (sign == NULL || sign == list[index]) return false;
  }
  drop_replaced(list);
  return true;
}

static uint16_t terminal_size(struct bytes payload, uint8_t tag, uint16_t otherwise) {
  uint64_t value = field_number(payload, tag, otherwise);
  return value >= 1 && value <= UINT16_MAX ? (uint16_t)value : otherwise;
}

/* NULL when the request is good, else what is wrong with it. */
static const char *read_request(struct execution *execution, struct bytes payload) {
  char user[32] = "user";
  struct bytes value;
  if (field_find(payload, FIELD_USER, &value) && !field_string(payload, FIELD_USER, user, sizeof user)) {
    return "the user must be \"user\" or \"root\"";
  }
  execution->as_root = strcmp(user, "root") == 0;
  if (!execution->as_root && strcmp(user, "user") != 0) return "the user must be \"user\" or \"root\"";
  strcpy(execution->directory, "/workspace");
  if (field_find(payload, FIELD_WORKING_DIRECTORY, &value) &&
      !field_string(payload, FIELD_WORKING_DIRECTORY, execution->directory, sizeof execution->directory)) {
    return "the working directory is too long or holds a zero byte";
  }
  execution->tty = field_number(payload, FIELD_TTY, 0) != 0;
  execution->detach = field_number(payload, FIELD_DETACH, 0) != 0;
  execution->input = field_number(payload, FIELD_STDIN, 0) != 0;
  execution->columns = terminal_size(payload, FIELD_COLUMNS, 80);
  execution->rows = terminal_size(payload, FIELD_ROWS, 24);
  execution->timeout_ms = field_number(payload, FIELD_TIMEOUT_MS, 0);
  execution->output_limit = field_number(payload, FIELD_OUTPUT_LIMIT, 0);
  if (execution->detach && (execution->tty || execution->input)) return "a detached command has no terminal or input";
  /* A field's header is longer than the zero byte at the end of its text. */
  char *text = execution->text = malloc(payload.length + 1);
  if (text == NULL) return "there is no memory for the request";
  if (!read_arguments(execution, payload, &text)) return "the arguments are missing, too many or hold a zero byte";
  if (!read_environment(execution, payload, &text)) return "a variable must be NAME=VALUE without zero bytes";
  return NULL;
}

static void release(struct execution *execution) {
  int *descriptors[] = {&execution->input_descriptor, &execution->output_descriptor, &execution->error_descriptor,
                        &execution->process_descriptor};
  for (size_t index = 0; index < sizeof descriptors / sizeof descriptors[0]; index++) close_descriptor(descriptors[index]);
  free(execution->text);
  free(execution->arguments);
  free(execution->environment);
}

bool execute_run(struct session *session, struct bytes payload) {
  int descriptor = session->connection.descriptor;
  struct execution execution = {.input_descriptor = -1, .output_descriptor = -1, .error_descriptor = -1,
                                .process_descriptor = -1};
  const char *problem = read_request(&execution, payload);
  if (problem != NULL) {
    send_error(descriptor, ERROR_INVALID, problem);
    return false;
  }
  if (execution.as_root && !session->agent->ranged) {
    send_error(descriptor, ERROR_UNSUPPORTED, "this sandbox has one user only, so no command can run as root");
    return false;
  }
  if (!spawn_command(session, &execution)) return false;
  __atomic_add_fetch(&session->agent->shared->commands_total, 1, __ATOMIC_RELAXED);
  if (execution.detach) detached_run(session, &execution);
  bool is_complete = stream_run(session, &execution);
  release(&execution);
  /* What a client sent to a command that had just ended must not be taken for its next request. */
  return is_complete && !execution.input && !execution.tty;
}

int reap_command(struct session *session, pid_t process) {
  siginfo_t information;
  int status = 0;
  /* Waits without taking the status first: while the zombie exists its id cannot belong to anyone else. */
  while (waitid(P_PID, (id_t)process, &information, WEXITED | WNOWAIT) != 0 && errno == EINTR) continue;
  session_set_command(session, 0);
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

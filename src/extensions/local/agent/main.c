/* sandboxer-agent: `launch` starts sandboxes from outside, `agent` is pid 1 inside of one. */
#include <string.h>
#include <unistd.h>

int agent_main(void);
int launch_main(void);

int main(int count, char **arguments) {
  static const char usage[] = "usage: sandboxer-agent launch|agent\n";
  if (count == 2 && strcmp(arguments[1], "launch") == 0) return launch_main();
  if (count == 2 && strcmp(arguments[1], "agent") == 0) return agent_main();
  ssize_t ignored = write(STDERR_FILENO, usage, sizeof usage - 1);
  (void)ignored;
  return 2;
}

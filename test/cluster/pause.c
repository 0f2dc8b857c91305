/* The first process of a pod: it holds the pod's namespaces, reaps what is orphaned, and ends when it is told to. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
  sigset_t all;
  int signal_number;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, 0);
  while (sigwait(&all, &signal_number) == 0) {
    if (signal_number == SIGTERM || signal_number == SIGINT) _exit(0);
    if (signal_number == SIGCHLD)
      while (waitpid(-1, 0, WNOHANG) > 0) {}
  }
  _exit(1);
}

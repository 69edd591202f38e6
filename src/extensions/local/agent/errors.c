#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire.h"

enum error_code error_for_errno(int number) {
  switch (number) {
    case ENOENT:
    case ESRCH:
      return ERROR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
      return ERROR_DENIED;
    case EEXIST:
    case ENOTEMPTY:
      return ERROR_EXISTS;
    case EINVAL:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EPROTO:
    case ENOEXEC:
    case ENXIO:
      return ERROR_INVALID;
    case ENOSYS:
    case EOPNOTSUPP:
      return ERROR_UNSUPPORTED;
    case EAGAIN:
    case EBUSY:
    case ETXTBSY:
      return ERROR_BUSY;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case E2BIG:
    case EFBIG:
      return ERROR_LIMIT;
    default:
      return ERROR_IO;
  }
}

bool send_errno(int descriptor, int number, const char *what) {
  char text[512];
  snprintf(text, sizeof text, "%.300s: %s", what, strerror(number));
  return send_error(descriptor, error_for_errno(number), text);
}

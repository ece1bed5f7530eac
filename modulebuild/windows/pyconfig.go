package windows

// pyconfig is a pyconfig.h for modules on Windows x64, for headers from an
// installation on another system. It defines what the headers of CPython 3.8 to 3.14
// require in a module. The sizes are those of the Windows x64 ABI (LLP64); a test
// compares the two that affect a layout with Microsoft's.
const pyconfig = `#ifndef Py_CONFIG_H
#define Py_CONFIG_H
#include <io.h>
#include <stdio.h>
#include <basetsd.h>
#define MS_WIN32
#ifndef MS_WIN64
#define MS_WIN64
#endif
#define MS_WINDOWS
#define NT_THREADS
#define WITH_THREAD 1
#define WITH_DOC_STRINGS 1
#define WITH_PYMALLOC 1
#define PLATFORM "win32"
#define COMPILER "[gcc]"
#define Py_ENABLE_SHARED 1
#define MS_COREDLL
#define HAVE_DECLSPEC_DLL
#define PYD_PLATFORM_TAG "win_amd64"
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define ALIGNOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define ALIGNOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_OFF_T 4
#define SIZEOF_FPOS_T 8
#define SIZEOF_HKEY 8
#define SIZEOF_WCHAR_T 2
#define SIZEOF_PID_T SIZEOF_INT
#define ALIGNOF_MAX_ALIGN_T 8
#define LONG_BIT 32
#define WORD_BIT 32
#define HAVE_LARGEFILE_SUPPORT
#define HAVE_PY_SSIZE_T 1
#define HAVE_LONG_LONG 1
#define HAVE_WCHAR_H 1
#define HAVE_INTTYPES_H 1
#define HAVE_STDINT_H 1
#define HAVE_UINTPTR_T 1
#define HAVE_INTPTR_T 1
#define HAVE_STDARG_PROTOTYPES
#define HAVE_ERRNO_H
#define HAVE_STDDEF_H
#define HAVE_SYS_TYPES_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_IO_H
#define HAVE_DIRECT_H 1
#define HAVE_PROCESS_H 1
#define HAVE_HYPOT 1
#define HAVE_STRFTIME
#define HAVE_CLOCK
#define DOUBLE_IS_LITTLE_ENDIAN_IEEE754 1
#define PY_LONG_LONG long long
#define PY_LLONG_MIN LLONG_MIN
#define PY_LLONG_MAX LLONG_MAX
#define PY_ULLONG_MAX ULLONG_MAX
#define PY_UINT32_T uint32_t
#define PY_UINT64_T uint64_t
#define PY_INT32_T int32_t
#define PY_INT64_T int64_t
typedef long long Py_ssize_t;
#define PY_SSIZE_T_MAX LLONG_MAX
#endif
`

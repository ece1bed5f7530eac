package host

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// job is a group of processes that ends with this process, however it ends. httpd
// serves requests in a child process, which would otherwise keep running.
type job struct{ handle windows.Handle }

func NewJob() (*job, error) {
	h, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, err
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if _, err := windows.SetInformationJobObject(h, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		_ = windows.CloseHandle(h)
		return nil, err
	}
	return &job{h}, nil
}

func (j *job) Add(pid int) error {
	h, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid))
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(h) }()
	return windows.AssignProcessToJobObject(j.handle, h)
}

// Kill ends all processes of the group immediately.
func (j *job) Kill() { _ = windows.TerminateJobObject(j.handle, 1) }

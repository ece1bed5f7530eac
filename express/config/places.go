package config

import "path/filepath"

// Places determines the paths of the instance's files. defaultRoot is the server root
// to use if none is given.
func (i *Instance) Places(defaultRoot string) error {
	i.Root = filepath.Clean(OrElse(i.abs(ServerRoot.In(i)), defaultRoot))
	i.Group = ProcessGroup.In(i)
	if i.Group == "" {
		i.Group = GroupName(Host.In(i), Port.In(i))
	}
	i.Mount = CleanMount(MountPoint.In(i))
	i.Work = filepath.Clean(OrElse(i.abs(WorkingDirectory.In(i)), i.LaunchDir))
	i.SocketDir = OrElse(i.abs(SocketPrefix.In(i)), i.Root)
	i.PIDFile = OrElse(i.abs(PIDFile.In(i)), filepath.Join(i.Root, "httpd.pid"))
	i.Eggs = OrElse(i.abs(PythonEggs.In(i)), filepath.Join(i.Root, "python-eggs"))
	i.Logs = OrElse(i.abs(LogDirectory.In(i)), i.Root)
	i.Docs = OrElse(i.abs(DocumentRoot.In(i)), filepath.Join(i.Root, "htdocs"))
	i.logPaths()
	dirs := []named{{WorkingDirectory, i.Work}}
	if SocketPrefix.In(i) != "" {
		dirs = append(dirs, named{SocketPrefix, i.SocketDir})
	}
	for _, d := range []named{{LogDirectory, i.Logs}, {PythonEggs, i.Eggs}} {
		if i.Given(d.option) {
			dirs = append(dirs, named{d.option, filepath.Dir(d.path)})
		}
	}
	for _, d := range dirs {
		if err := WantDirectory(d.option, d.path); err != nil {
			return err
		}
	}
	return nil
}

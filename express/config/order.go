package config

import (
	"modwsgi/express/conf"
	"modwsgi/internal/fault"
)

// slot is a place in httpd.conf. The constants are in the order of the file.
type slot int

const (
	slotServer  slot = iota // the server: its name, files, account and address
	slotDefines             // names that included files may test
	slotModules             // what is loaded
	slotTypes               // media types
	slotFixed               // what no option changes
	slotPauses              // the longest pause of a connection
	slotBacklog             // connections that wait
	slotProtocols
	slotReading   // the time for headers and bodies
	slotBodies    // the size of bodies
	slotKeepAlive // the time of idle connections
	slotMethods   // what is closed unless a later part opens it, and methods
	slotVerbosity // of the module
	slotSockets   // of daemon processes
	slotWSGI      // the application, for the module as a whole
	slotPython    // Python, for the module as a whole
	slotDaemon    // the processes of the application, or what replaces them
	slotMetrics
	slotResponses // how responses are sent
	slotChunks    // bodies without a length
	slotTrusted   // proxies in front of the server
	slotOverride  // error pages of the application
	slotTelemetry
	slotLogs
	slotSizes // of httpd's own processes
	slotServices
	slotHosts     // virtual hosts
	slotDocuments // the document root
	slotAccess    // who may come in
	slotStatus    // after it: of several sections that fit the last one counts
	slotHandler   // the application as a handler
	slotResources // scripts for files with an extension
	slotProxyTime
	slotProxies // servers behind this one
	slotManual
	slotAliases
	slotErrors // error pages
	slotVariables
	slotIncludes // files of the user's, which have the last word
	slots
)

// load is a place among the modules that are loaded. The constants are in the order
// of the file.
type load int

const (
	loadAlways load = iota
	loadLogs
	loadLocal
	loadStatus
	loadCompression
	loadListing
	loadHTTP2
	loadTLS
	loadProxy
	loadAccounts
	loadCGI
	loadIncluded // what included files rely on; it may be missing
	loads
)

// hostSlot is a place among the virtual hosts of a port. The constants are in the
// order of the file, which hosts.go explains.
type hostSlot int

const (
	hostUnknown hostSlot = iota
	hostServices
	hostProxies
	hostServer
	hostParent
	hostSlots
)

// writer puts a configuration together, part by part, in the order in which httpd
// reads it.
type writer struct {
	i    *Instance
	file conf.File
	err  error
}

func (w *writer) add(nodes ...conf.Node) { w.file.Add(nodes...) }

// Configuration returns the instance's httpd.conf, and its text.
func (i *Instance) Configuration() (*conf.File, string, error) {
	w := &writer{i: i}
	for s := range slots {
		for _, f := range features {
			if write := f.writes[s]; write != nil {
				write(w)
			}
			if w.err != nil {
				return nil, "", w.err
			}
		}
	}
	text, err := w.file.Text()
	if err != nil {
		return nil, "", fault.Wrap(fault.Usage, "", err)
	}
	return &w.file, text, nil
}

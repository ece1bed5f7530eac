package config

import (
	"modwsgi/express/conf"
	"modwsgi/internal/fault"
)

// slot is a position in httpd.conf. The constants are in the order of the file.
type slot int

const (
	slotServer  slot = iota // name, files, account and address of the server
	slotDefines             // names that included files can test
	slotModules             // LoadModule
	slotTypes               // media types
	slotFixed               // directives that no option changes
	slotPauses              // longest pause of a connection
	slotBacklog             // waiting connections
	slotProtocols
	slotReading   // time limits for headers and bodies
	slotBodies    // size limit of bodies
	slotKeepAlive // time limit of idle connections
	slotMethods   // default denial of access, and methods
	slotVerbosity // log messages of the module
	slotSockets   // sockets of daemon processes
	slotWSGI      // the application, for the module as a whole
	slotPython    // Python, for the module as a whole
	slotDaemon    // daemon processes, or embedded mode
	slotMetrics
	slotResponses // transmission of responses
	slotChunks    // bodies of unknown length
	slotTrusted   // proxies in front of the server
	slotOverride  // error pages instead of the application's
	slotTelemetry
	slotLogs
	slotSizes // number of httpd's processes and threads
	slotServices
	slotHosts     // virtual hosts
	slotDocuments // document root
	slotAccess    // access control
	slotStatus    // after slotAccess: the last matching section applies
	slotHandler   // application as a handler
	slotResources // scripts of --add-handler
	slotProxyTime
	slotProxies // servers that requests are passed on to
	slotManual
	slotAliases
	slotErrors // error pages
	slotVariables
	slotIncludes // the user's files, which override everything else
	slots
)

// load is a position among the modules to load. The constants are in the order of the
// file.
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
	loadIncluded // modules that included files rely on, if available
	loads
)

// hostSlot is a position among the virtual hosts of a port. The constants are in the
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

// writer assembles a configuration in the order in which httpd reads it.
type writer struct {
	i    *Instance
	file conf.File
	err  error

	unissued bool // what is written applies while no authority has issued the certificate
}

func (w *writer) add(nodes ...conf.Node) { w.file.Add(nodes...) }

// Configuration returns the instance's httpd.conf as a tree and as text.
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

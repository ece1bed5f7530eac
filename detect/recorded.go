package detect

import "modwsgi/internal/receipt"

// Recorded is the description of a Python in a receipt, to be compared with the
// present one.
func (p *Python) Recorded() receipt.Python {
	return receipt.Python{
		Version: p.Version, SOABI: p.SOABI, Prefix: p.Prefix, BasePrefix: p.BasePrefix, LibPython: p.LibPython, FreeThreaded: p.FreeThreaded,
	}
}

// Recorded is the description of an httpd in a receipt.
func (h *HTTPD) Recorded() receipt.HTTPD {
	return receipt.HTTPD{
		Provenance: string(h.Provenance), Version: h.Version, MMN: h.MMN,
		Executable: h.Executable, ModulesDir: h.ModulesDir, Rotatelogs: h.Rotatelogs, MPMs: h.MPMs,
	}
}

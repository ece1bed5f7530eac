package detect

import "modwsgi/internal/receipt"

// Recorded is what a receipt has of a Python, and what a receipt is compared with.
func (p *Python) Recorded() receipt.Python {
	return receipt.Python{
		Version: p.Version, SOABI: p.SOABI, Prefix: p.Prefix, BasePrefix: p.BasePrefix, LibPython: p.LibPython, FreeThreaded: p.FreeThreaded,
	}
}

// Recorded is what a receipt has of an httpd.
func (h *HTTPD) Recorded() receipt.HTTPD {
	return receipt.HTTPD{
		Provenance: string(h.Provenance), Version: h.Version, MMN: h.MMN,
		Executable: h.Executable, ModulesDir: h.ModulesDir, Rotatelogs: h.Rotatelogs, MPMs: h.MPMs,
	}
}

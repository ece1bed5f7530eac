package express

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// startsServers are tests that are marked but start servers: httpd alone, its logs and the
// launcher's signals decide their results. TestNoRequestIsLost, TestLongRequests,
// TestRefusedReload, TestPassedSockets and TestRestartLosesNoConnection show with each
// mod_wsgi that one httpd can follow another.
var startsServers = []string{
	"TestVirtualHosts", "TestMeaningAgreesWithHTTPD", "TestStaticFiles",
	"TestLogsOfTheNextHTTPD", "TestLogsOnAFullDisk", "TestLongLines", "TestKilledLogPrograms", "TestRotationUnderLoad",
	"TestNewCertificate", "TestStopDuringReload", "TestModesHandOver", "TestOnlyItsOwnerReloads", "TestPIDFileDuringReloads", "TestOverlappingAddresses",
	"TestCertificateIsRenewed", "TestAuthorityRefuses", "TestExternalAccount", "TestStapling", "TestOrdinaryUserHasACertificate", "TestDiskIsFull", "TestKilledWhileObtaining", "TestSharedCertificate", "TestChallengeOnEveryHost",
	"TestNamedSocket", "TestIncludedListen", "TestRefusedSockets", "TestSocketsWithoutHandover", "TestSocketsOfAnotherProcess", "TestPrivilegedSocket",
}

// TestOnceIsForWhatStartsNoServer: the tests on real tools run with each mod_wsgi of
// the catalogue (scripts/test-events), except those marked "Once:" with a reason. None
// of these may start one of the launcher's servers, except a few.
func TestOnceIsForWhatStartsNoServer(t *testing.T) {
	names, err := filepath.Glob("*_test.go")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	calls, once, all := map[string][]string{}, map[string]bool{}, 0
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(data), "package ")
		if !strings.Contains(head, "acceptance") {
			continue
		}
		if !strings.HasPrefix(head, "//go:build acceptance") {
			t.Errorf("%s does not begin with its build tag, which scripts/test-events looks for", name)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := fn.Name.Name
			if fn.Recv != nil {
				name = "." + name
			}
			calls[name] = append(calls[name], called(fn)...)
			if strings.HasPrefix(fn.Name.Name, "Test") {
				all++
				once[fn.Name.Name] = strings.Contains("\n"+fn.Doc.Text(), "\nOnce: ")
			}
		}
	}
	marked := 0
	for name, is := range once {
		starts := reaches(calls, name, "beginWith", map[string]bool{}) || reaches(calls, name, ".launch", map[string]bool{})
		for _, s := range startsServers {
			starts = starts && s != name
		}
		if is && starts {
			t.Errorf("%s starts a server, so it must run with each mod_wsgi", name)
		}
		if is {
			marked++
		}
	}
	if marked < 5 || all < 100 || !reaches(calls, "TestReload", "beginWith", map[string]bool{}) {
		t.Errorf("only %d tests found, %d of them marked", all, marked)
	}
}

// called returns the functions that a function calls; methods have a leading dot.
func called(fn *ast.FuncDecl) (names []string) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			switch f := call.Fun.(type) {
			case *ast.Ident:
				names = append(names, f.Name)
			case *ast.SelectorExpr:
				names = append(names, "."+f.Sel.Name)
			}
		}
		return true
	})
	return names
}

func reaches(calls map[string][]string, from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	for _, next := range calls[from] {
		if reaches(calls, next, to, seen) {
			return true
		}
	}
	return false
}

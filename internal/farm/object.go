package farm

import (
	"bytes"
	"debug/elf"
	"path/filepath"
	"slices"
	"strings"
)

// source returns the C file that a command compiles to an object, or "" if the command
// does something else. Assembler is compiled here: its objects do not tell what wrote
// them, and it takes no time.
func source(argv []string) string {
	name := ""
	for _, word := range argv {
		if !strings.HasPrefix(word, "-") && filepath.Ext(word) == ".c" {
			name = word
		}
	}
	if !slices.Contains(argv, "-c") {
		return ""
	}
	return name
}

// private are the beginnings of options whose meaning depends on the machine: they name
// files that other machines lack, or have with other contents, or the processor.
var private = []string{
	"-specs=", "--specs=", "--sysroot", "-isysroot", "-B", "--gcc-toolchain", "-fplugin", "-wrapper", "@", "-fprofile-use", "-fauto-profile",
	"-march=native", "-mcpu=native", "-mtune=native", "--config", "-Xclang", "-fuse-ld=/",
}

// localOption returns an option that a farm cannot be given, or "".
func localOption(argv []string) string {
	for _, word := range argv {
		if slices.ContainsFunc(private, func(p string) bool { return strings.HasPrefix(word, p) }) {
			return word
		}
	}
	return ""
}

// codeOptions returns the options that decide which code is generated.
func codeOptions(argv []string) []string {
	return slices.DeleteFunc(slices.Clone(argv), func(word string) bool {
		return len(word) < 2 || word[0] != '-' || !strings.ContainsRune("Ofmgs", rune(word[1])) || strings.HasPrefix(word, "-ffile-prefix-map=")
	})
}

// writer describes what wrote an object: the form of the file, and the compiler with its
// version and the distribution's revision, which compilers put into the section
// ".comment". It is "" for a file that is no object.
func writer(name string) string {
	f, err := elf.Open(name)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	var text []byte
	if s := f.Section(".comment"); s != nil {
		if text, err = s.Data(); err != nil {
			return ""
		}
	}
	var who []string
	for _, part := range bytes.Split(text, []byte{0}) {
		if len(part) > 0 {
			who = append(who, string(part))
		}
	}
	slices.Sort(who)
	return f.Machine.String() + " " + f.Class.String() + " " + f.Data.String() + " " + strings.Join(slices.Compact(who), ", ")
}

// compilerOf is writer without the form of the file, for messages.
func compilerOf(writer string) string {
	fields := strings.SplitN(writer, " ", 4)
	if len(fields) == 4 && fields[3] != "" {
		return fields[3]
	}
	return "an unknown compiler"
}

// sample is compiled on every machine of a farm and here. It has something of what
// compilers and assemblers generate differently: loops that can be vectorized, a switch, a
// buffer on the stack, structures, floating point, a variable of a thread, an indirect
// call. It includes nothing.
const sample = `
struct point { double x, y; char name[24]; };
static __thread int counter;
extern int visit(struct point *, const char *);
static int (*const visitors[])(struct point *, const char *) = { visit };
unsigned sum(const unsigned char *p, unsigned long n)
{
	unsigned a = 1, b = 0;
	while (n--) { a += *p++; b = (b + a) % 65521; }
	return b << 16 | a;
}
void scale(float *restrict to, const float *restrict from, int n)
{
	for (int i = 0; i < n; i++) to[i] = from[i] * 0.5f + (float)i;
}
const char *word(int n)
{
	switch (n) {
	case 0: return "zero"; case 1: return "one"; case 2: return "two"; case 3: return "three";
	case 4: return "four"; case 5: return "five"; case 9: return "nine"; default: return 0;
	}
}
int walk(struct point p, const char *text)
{
	char copy[64];
	unsigned i;
	for (i = 0; i < sizeof copy - 1 && text[i]; i++) copy[i] = text[i] ^ (char)counter;
	copy[i] = 0;
	p.x = p.x / 3 + p.y * i;
	counter++;
	return visitors[0](&p, copy) + (p.x > p.y ? __LINE__ : (int)sizeof(p));
}
`

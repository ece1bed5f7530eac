package archive_test
import ("testing";"math/rand";"time";"modwsgi/internal/archive";"os";"bytes";"github.com/ulikunitz/xz";"github.com/dsnet/compress/bzip2";"github.com/klauspost/compress/zstd")
func TestZZ(t *testing.T){
	plain := makeTar(t, dir("d/"), file("d/a", "some text some text"), symlink("d/l", "a"), hardlink("h", "d/a"))
	var b,x,s bytes.Buffer
	bw,_:=bzip2.NewWriter(&b,nil); xw,_:=xz.NewWriter(&x); sw,_:=zstd.NewWriter(&s)
	seeds:=[][]byte{gz(t,plain),plain,compress(t,bw,&b,plain),compress(t,xw,&x,plain),compress(t,sw,&s,plain),makeZip(t, zipItem{name: "a", body: "x"}, zipItem{name: "l", body: "a", mode: 0o777 | os.ModeSymlink})}
	a:=newArena(t); end:=time.Now().Add(25*time.Second); n:=0; ok:=0
	for time.Now().Before(end) {
		d:=bytes.Clone(seeds[rand.Intn(len(seeds))])
		for range 1+rand.Intn(4) { d[rand.Intn(len(d))]=byte(rand.Intn(256)) }
		st:=time.Now()
		_,err:=a.extract(d,archive.Options{Limits: archive.Limits{MaxBytes: 1 << 20, MaxFileBytes: 1 << 20, MaxFiles: 100}})
		if e:=time.Since(st); e>500*time.Millisecond { t.Log(e,err); os.WriteFile("/tmp/fw/slow",d,0o600) }
		if err==nil { ok++; os.RemoveAll(a.dest) }
		a.untouched(); n++
	}
	t.Log(n,ok)
}

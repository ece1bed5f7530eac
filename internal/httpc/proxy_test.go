package httpc

import (
	"net/url"
	"testing"
)

func TestProxyChoice(t *testing.T) {
	for _, tt := range []struct {
		env        []string
		url, proxy string
	}{
		{nil, "https://a.example/x", ""},
		{[]string{"HTTPS_PROXY=http://p:1"}, "https://a.example/x", "http://p:1"},
		{[]string{"HTTPS_PROXY=http://p:1"}, "http://a.example/x", ""},
		{[]string{"HTTP_PROXY=p:2"}, "http://a.example/x", "http://p:2"},
		{[]string{"HTTP_PROXY=p:2", "REQUEST_METHOD=GET"}, "http://a.example/x", ""},
		{[]string{"http_proxy=p:2", "REQUEST_METHOD=GET"}, "http://a.example/x", "http://p:2"},
		{[]string{"HTTPS_PROXY=p:1", "https_proxy=q:1"}, "https://a.example/x", "http://q:1"},
		{[]string{"https_proxy=", "HTTPS_PROXY=p:1"}, "https://a.example/x", "http://p:1"},
		{[]string{"ALL_PROXY=socks5://s:9"}, "https://a.example/x", "socks5://s:9"},
		{[]string{"HTTPS_PROXY=http://p:1"}, "https://127.0.0.1:8443/x", ""},
		{[]string{"HTTPS_PROXY=http://p:1"}, "https://localhost/x", ""},
		{[]string{"HTTPS_PROXY=http://p:1"}, "https://[::1]/x", ""},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=*"}, "https://a.example/x", ""},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=example"}, "https://a.example/x", ""},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=a.example"}, "https://A.Example./x", ""},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=.a.example"}, "https://a.example/x", "http://p:1"},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=*.a.example"}, "https://b.a.example/x", ""},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=a.example"}, "https://ba.example/x", "http://p:1"},
		{[]string{"HTTPS_PROXY=p:1", "no_proxy=x, a.example:443 ,y"}, "https://a.example/x", ""},
		{[]string{"HTTPS_PROXY=p:1", "no_proxy=a.example:8443"}, "https://a.example/x", "http://p:1"},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=10.0.0.0/8"}, "https://10.1.2.3/x", ""},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=10.0.0.0/8"}, "https://11.1.2.3/x", "http://p:1"},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=10.1.2.3"}, "https://10.1.2.3/x", ""},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=fd00::/8,[fe80::1]:443"}, "https://[fd12::1]/x", ""},
		{[]string{"HTTPS_PROXY=p:1", "NO_PROXY=,, ,"}, "https://a.example/x", "http://p:1"},
	} {
		proxy, err := Proxy(tt.env)
		if err != nil {
			t.Errorf("%q: %v", tt.env, err)
			continue
		}
		u, _ := url.Parse(tt.url)
		got := ""
		via, err := proxy(u)
		if err != nil {
			t.Errorf("%q: %v", tt.env, err)
		}
		if via != nil {
			got = via.String()
		}
		if got != tt.proxy {
			t.Errorf("%q: proxy of %s = %q, want %q", tt.env, tt.url, got, tt.proxy)
		}
	}
}

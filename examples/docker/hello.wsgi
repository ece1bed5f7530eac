def application(environ, start_response):
    body = b"Hello from " + environ["SERVER_SOFTWARE"].encode() + b"\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

from modwsgi import _main

_main()

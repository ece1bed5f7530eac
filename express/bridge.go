package express

import "modwsgi/express/config"

var (
	unbracket  = config.Unbracket
	cleanMount = config.CleanMount
	hostName   = config.HostName
	variable   = config.Variable
	levelWords = config.LevelWords
)

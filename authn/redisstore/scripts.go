package redisstore

import (
	_ "embed"

	"github.com/redis/rueidis"
)

var (
	//go:embed scripts/index.lua
	indexScript string
	//go:embed scripts/create.lua
	createScript string
	//go:embed scripts/save.lua
	saveScript string
	//go:embed scripts/touch.lua
	touchScript string
	//go:embed scripts/end.lua
	endScript string
	//go:embed scripts/revoke.lua
	revokeScript string
)

// scripts run on the server, each in one atomic step. They are sent in full with each call,
// because they are short and a restarted server does not have them.
type scripts struct {
	index, create, save, touch, end, revoke *rueidis.Lua
}

func newScripts() scripts {
	return scripts{
		index:  rueidis.NewLuaScriptNoSha(indexScript),
		create: rueidis.NewLuaScriptNoSha(createScript),
		save:   rueidis.NewLuaScriptNoSha(saveScript),
		touch:  rueidis.NewLuaScriptNoSha(touchScript),
		end:    rueidis.NewLuaScriptNoSha(endScript),
		revoke: rueidis.NewLuaScriptNoSha(revokeScript),
	}
}

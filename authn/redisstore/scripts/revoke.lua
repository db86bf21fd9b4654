-- Stores a revocation and returns the entries of its index, in one step: a session that is
-- entered later is refused, and one that was entered earlier is returned. A second call never
-- weakens the first.
-- KEYS: index, revocation. ARGV: last sign-in that it ends (s), until (ms).
local old = redis.call('HMGET', KEYS[2], 'not_after', 'until')
local not_after = math.max(tonumber(ARGV[1]), tonumber(old[1] or ARGV[1]))
local last = math.max(tonumber(ARGV[2]), tonumber(old[2] or ARGV[2]))
redis.call('HSET', KEYS[2], 'not_after', not_after, 'until', last)
redis.call('PEXPIREAT', KEYS[2], last)
return redis.call('ZRANGE', KEYS[1], 0, -1)

-- Stores a new record. A key serves one session only: the script overwrites neither a record nor
-- the tombstone of an ended session.
-- KEYS: session. ARGV: origin, seen, sealed, expires (ms).
local there = redis.call('HMGET', KEYS[1], 'ended', 'version')
if there[1] then
  return 'ended'
elseif there[2] then
  return 'exists'
end
redis.call('HSET', KEYS[1], 'origin', ARGV[1], 'seen', ARGV[2], 'version', '1', 'sealed', ARGV[3])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
return 'created'

-- Sets the times of an existing record without changing its version, unless it has moved to other
-- indexes than those that it was entered into until then.
-- KEYS: session. ARGV: seen, expires (ms), origin.
local there = redis.call('HMGET', KEYS[1], 'version', 'origin')
if not there[1] then
  return 'gone'
elseif there[2] ~= ARGV[3] then
  return 'moved'
end
redis.call('HSET', KEYS[1], 'seen', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return 'touched'

-- Sets the times of an existing record without changing its version.
-- KEYS: session. ARGV: seen, expires (ms).
if redis.call('HEXISTS', KEYS[1], 'version') == 0 then
  return 'gone'
end
redis.call('HSET', KEYS[1], 'seen', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return 'touched'

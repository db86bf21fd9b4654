-- Enters a session into an index, unless its sign-in is revoked there. Checking and entering are
-- one step: a revocation either comes before it and refuses the session, or after it and finds it.
-- KEYS: index, revocation. ARGV: entry, expires (ms), signed in (s). Returns 1, or 0.
local not_after = redis.call('HGET', KEYS[2], 'not_after')
if not_after and tonumber(ARGV[3]) <= tonumber(not_after) then
  return 0
end
-- Remove the entries of expired records. The whole index expires with its last entry.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. redis.call('TIME')[1] .. '000')
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
redis.call('PEXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
return 1

-- Puts a tombstone in the place of a record, or where one would be; it stays as long as
-- any End asked for, with the cause of the first. For a revocation, which found the key in an index, it leaves a
-- record alone that is another than the one that was entered there.
-- KEYS: session. ARGV: until (ms), cause; for a revocation also the index and the
-- sign-in of the entry. Returns the record's origin, or nothing where it ended none.
local there = redis.call('HMGET', KEYS[1], 'origin', 'ended', 'cause')
local origin, last = there[1], ARGV[1]
if origin and ARGV[3] then
  local named = string.sub(origin, 1, 32) == ARGV[3] or string.sub(origin, 33, 64) == ARGV[3]
  if not named or string.sub(origin, 65, 72) ~= ARGV[4] then
    return false
  end
end
if there[2] and tonumber(there[2]) > tonumber(last) then
  last = there[2]
end
-- First of all, so that a server whose memory is full takes the rest too.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'ended', last, 'cause', there[3] or ARGV[2])
redis.call('PEXPIREAT', KEYS[1], last)
return origin

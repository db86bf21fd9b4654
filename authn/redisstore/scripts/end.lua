-- Replaces a record with a tombstone, or stores one if there is no record. The tombstone stays
-- for as long as any End requested, with the cause of the first. A revocation found the key in an
-- index: for it, the script leaves the record alone if it is not the one entered there.
-- KEYS: session. ARGV: until (ms), cause; for a revocation also the index and the
-- sign-in of the entry. Returns the record's origin, or nothing if it ended no record.
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
-- DEL comes first, so that a server whose memory is full accepts the tombstone.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'ended', last, 'cause', there[3] or ARGV[2])
redis.call('PEXPIREAT', KEYS[1], last)
return origin

-- Compare and swap: replaces the sealed part if the version is still the one that was loaded.
-- A tombstone has no version, so an ended session never comes back.
-- A session that moves to other indexes has been entered there until it expired as of seen: after a
-- touch the caller has to enter it again.
-- KEYS: session. ARGV: version, next version, sealed, bound; for a move also the new origin, seen.
local version = redis.call('HGET', KEYS[1], 'version')
if not version then
  return 'gone'
elseif version ~= ARGV[1] then
  return 'changed'
end
if ARGV[5] then
  if redis.call('HGET', KEYS[1], 'seen') ~= ARGV[6] then
    return 'changed'
  end
  redis.call('HSET', KEYS[1], 'origin', ARGV[5])
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'sealed', ARGV[3], 'bound', ARGV[4])
return 'saved'

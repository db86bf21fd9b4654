-- Compare and swap: replaces the sealed part if the version is still the one that was loaded.
-- A tombstone has no version, so an ended session never comes back.
-- KEYS: session. ARGV: version, next version, sealed.
local version = redis.call('HGET', KEYS[1], 'version')
if not version then
  return 'gone'
elseif version ~= ARGV[1] then
  return 'changed'
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'sealed', ARGV[3])
return 'saved'

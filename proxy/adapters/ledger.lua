-- One call of a replica to the shared ledger: carried out whole, or not at all.
-- Times are seconds of the ledger's own clock: the server's, plus what it jumped by (`skew`).
-- ARGV[1] is JSON: m me; n, v number and id of the last entry heard of; c how many critical ones; s skew;
--   f, u from when to when it may be carried out; x the latest that it is; h horizon; k expiry; l lease;
--   p for each lane its size and how long what is withheld is; e entries (id, payload, critical, changes,
--   number); t what is taken; w, g channels to wake, and with what. True, or not there: z does not show that
--   it is here; y good-bye; j takes a jump back; b is back. Or not there: d seconds for which it was cut off,
--   at least; o who else may be spending.
-- `Reply` (wire.py) is the answer.
local meta, log, here, lost, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local FIRST = 5 -- after these, a key for each lane: when each slot comes free, by its id
local a = cjson.decode(ARGV[1])
local kept = redis.call('HMGET', meta, 'n', 'v', 'crit', 'skew', 'young', 'told', 'called')
local n, v, crit, skew = tonumber(kept[1] or '0'), kept[2] or '', tonumber(kept[3] or '0'), kept[4] or '0'
local time = redis.call('TIME')
local server = tonumber(time[1]) + tonumber(time[2]) / 1000000
local now = server + tonumber(skew)
local known, noted = n, crit
local lane, at = -1, 0

local function text(number) return string.format('%.6f', number) end

local function append(id, payload)
  n, v = n + 1, id
  redis.call('ZADD', log, n, n .. ' ' .. payload)
end

local function change(changes)
  for _, one in ipairs(changes) do
    if one[3] == '' then
      redis.call('ZREM', KEYS[FIRST + one[1]], one[2])
    else
      redis.call('ZADD', KEYS[FIRST + one[1]], one[3], one[2])
    end
  end
end

-- A store that was just started may have forgotten what others are about to write down anew.
local function young()
  local said = redis.pcall('INFO', 'server')
  local up = type(said) == 'string' and tonumber(string.match(said, 'uptime_in_seconds:(%d+)'))
  return up and up < 2 and now + 2 - up or 0
end

local function slots_of(replica, key)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    if string.sub(id, 1, #replica + 1) == replica .. ':' then found[#found + 1] = id end
  end
  return found
end

local function answer(status)
  local entries = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', log, '(' .. a.n, known)) do
    entries[#entries + 1] = string.match(member, '^%d+ (.*)$')
  end
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - a.h, 'LIMIT', 0, 16)) do
    redis.call('ZREM', seen, gone)
    redis.call('HDEL', meta, 'q:' .. gone, 'r:' .. gone)
    redis.call('HDEL', lost, gone)
  end
  local among = redis.call('ZCARD', seen)
  redis.call('HSET', meta, 'r:' .. a.m, among)
  return cjson.encode({status, text(at), text(now), n, v, crit, skew, among, lane, entries})
end

-- Of what was forgotten, each other replica may know something that nobody else does.
if a.o and kept[6] ~= '1' then
  kept[5], kept[6] = text(now + 2), '1'
elseif not kept[6] then
  kept[5], kept[6] = text(young()), '0'
end
-- The first to write takes memory: a store that has none left refuses all of a call, or nothing.
redis.call('HSET', meta, 'young', kept[5], 'told', kept[6])
redis.call('EXPIRE', meta, a.k)

-- What this replica knew last must stand here still, or be so old that it does not matter: else the store
-- forgot, or never heard of it.
if a.n > 0 and not (a.n == n and a.v == v) then
  local last = redis.call('ZRANGEBYSCORE', log, a.n, a.n)[1]
  local start = a.n .. ' ["' .. a.v .. '"'
  if not last or string.sub(last, 1, #start) ~= start then
    local oldest = redis.call('ZRANGE', log, 0, 0, 'WITHSCORES')[2]
    local outdated = oldest and a.n < tonumber(oldest)
    a.n = 0
    if not outdated then return answer('forgot') end
  end
end
if a.f and (now < a.f or now > a.u) then
  -- It may be the call that is late: only who was told so, and asks again, takes the jump back, for all.
  if not a.j or a.s ~= skew then return answer('jumped') end
  skew = text(a.x - server)
  redis.call('HSET', meta, 'skew', skew)
  return answer('jumped')
end
if not a.z and redis.call('HEXISTS', lost, a.m) == 1 then
  if not a.b then return answer('lost') end
  redis.call('HDEL', lost, a.m)
  for key = FIRST + 1, #KEYS do
    for _, id in ipairs(slots_of(a.m, KEYS[key])) do redis.call('ZREM', KEYS[key], id) end
  end
end

for _, other in ipairs(a.o or {}) do
  redis.call('ZADD', here, 'NX', text(now - 1), other)
  redis.call('ZADD', seen, 'NX', text(now), other)
end
-- If nobody could call for a while, whoever was seen lately may have begun to spend alone.
if a.d and now - tonumber(kept[7] or now) > a.d then
  for _, other in ipairs(redis.call('ZRANGE', seen, 0, -1)) do
    redis.call('ZADD', here, 'NX', text(now - 1), other)
  end
end
-- Of whom nothing is heard may be spending its share: that much is withheld for a window.
for _, silent in ipairs(redis.call('ZRANGEBYSCORE', here, '-inf', text(now), 'LIMIT', 0, 16)) do
  redis.call('ZREM', here, silent)
  if silent ~= a.m or a.z then
    redis.call('HSET', lost, silent, text(now))
    local among = math.max(1, tonumber(redis.call('HGET', meta, 'r:' .. silent) or redis.call('ZCARD', seen)))
    for key = FIRST + 1, #KEYS do
      local part, till = math.max(1, math.floor(a.p[key - FIRST][1] / among)), now + a.p[key - FIRST][2]
      local has = slots_of(silent, KEYS[key])
      for _, id in ipairs(has) do redis.call('ZADD', KEYS[key], text(till), id) end
      for number = #has + 1, part do redis.call('ZADD', KEYS[key], text(till), silent .. ':~' .. number) end
    end
    local id = silent .. '!' .. n
    append(id, '["' .. id .. '","x",' .. text(now) .. ',"' .. silent .. '",' .. among .. ']')
    known, crit = n, crit + 1
  end
end
if a.y then
  redis.call('ZREM', here, a.m)
elseif not a.z then
  redis.call('ZADD', here, text(now + a.l), a.m)
end
redis.call('ZADD', seen, text(now), a.m)

-- What was written before is not written again, and what comes after something later is void: a call that the
-- replica gave up may still come in.
local written = tonumber(redis.call('HGET', meta, 'q:' .. a.m) or '0')
for _, entry in ipairs(a.e) do
  if entry[5] > written then
    written = entry[5]
    append(entry[1], entry[2])
    change(entry[4])
    if entry[3] then crit = crit + 1 end
  end
end

local status, take = 'ok', a.t
if take then
  if take.q == written and redis.call('ZSCORE', KEYS[FIRST + take.l[1][1]], take.i) then
    status = 'ok' -- the answer to the same question was lost
  elseif take.q <= written or a.c ~= noted or (take.s and known ~= a.n) then
    status = 'news'
  elseif tonumber(kept[5]) > now and (kept[6] == '0' or redis.call('HLEN', lost) > 0) then
    status, at = 'young', tonumber(kept[5])
    if kept[6] == '1' then at = math.min(at, now + 0.25) end -- until all others were heard
  else
    for _, one in ipairs(take.l) do
      local key = KEYS[FIRST + one[1]]
      redis.call('ZREMRANGEBYSCORE', key, '-inf', text(now))
      local count = redis.call('ZCARD', key)
      if count >= one[2] then
        local comes = now -- it is closed for a reason that the replica knows
        if one[2] >= 0 then
          local first = count - one[2]
          comes = tonumber(redis.call('ZRANGE', key, first, first, 'WITHSCORES')[2] or 'inf') or math.huge
        end
        if lane < 0 or comes > at then lane, at = one[1], comes end
      end
    end
    if lane < 0 then
      for _, one in ipairs(take.l) do redis.call('ZADD', KEYS[FIRST + one[1]], 'inf', take.i) end
      append(take.i, take.e)
      written = take.q
    else
      status = 'busy'
      if take.w and take.w[tostring(lane)] then append(take.w[tostring(lane)][1], take.w[tostring(lane)][2]) end
    end
  end
end

for _ = 1, 4 do -- what is older than any window is of no use to anybody
  local oldest = redis.call('ZRANGE', log, 0, 0)[1]
  if not oldest or n - tonumber(string.match(oldest, '^%d+')) < 8 then break end
  if tonumber(string.match(oldest, '^%d+ %["[^"]*","[^"]*",([%d.]+)')) > now - a.h then break end
  redis.call('ZREMRANGEBYRANK', log, 0, 0)
end
local called = a.z and kept[7] or text(now)
redis.call('HSET', meta, 'n', n, 'v', v, 'crit', crit, 'skew', skew, 'called', called, 'q:' .. a.m, written)
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, a.k) end
for _, channel in ipairs(a.w) do redis.call('PUBLISH', channel, a.g) end
return answer(status)

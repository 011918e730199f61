-- Serves SERVICE, one client after the other: each message is a number, the answer the sum of this client's numbers.
-- Start it as often as you like: each takes the next client that waits.

local function serve(client)
  local sum = 0
  -- The first read waits for a client, the next for its messages; nil when it has closed its end or was killed.
  for number in function() return client:read("l") end do
    if number:match("^%d+$") then
      sum = sum + math.tointeger(number)
      client:write(sum, "\n")
    else
      client:write("not a number\n")
    end
    if not client:flush() then return end -- it did not wait for its answer
  end
end

local ENOENT = 2
while true do
  local client, message, code = io.open(arg[1] .. "/accept:line", "r+")
  if not client then
    if code == ENOENT then return end -- the service was removed
    error(message)
  end
  serve(client)
  client:close()
end

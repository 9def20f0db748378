-- Health of an MTPModel for Argo CD: Healthy when what the spec asks for is served, Degraded when only a change can help.
local function condition(type)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, one in ipairs(obj.status.conditions) do
      if one.type == type then
        return one
      end
    end
  end
  return { status = "Unknown", reason = "", message = "" }
end

local generation = obj.metadata.generation
if obj.status == nil or (generation ~= nil and obj.status.observedGeneration ~= generation) then
  return { status = "Progressing", message = "Waiting for the operator to see the newest spec" }
end
local ready, stalled = condition("Ready"), condition("Stalled")
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
if ready.reason == "Suspended" then
  return { status = "Suspended", message = ready.message }
end
if stalled.status == "True" then
  return { status = "Degraded", message = stalled.reason .. ": " .. (stalled.message or "") }
end
return { status = "Progressing", message = ready.message }

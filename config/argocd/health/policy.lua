-- A policy is healthy when every node has it and its rollout, if it has one, is done. What may still come by itself is
-- progress: Git applies in any order, and nodes take a moment. What only a person can mend is degraded.
local awaited = {
  Pending = true,
  NodesPending = true,
  ServiceNotFound = true,
  ServiceHasNoClusterIP = true,
}

local function verdict(status, message)
  return { status = status, message = message }
end

local status = obj.status
if status == nil or status.conditions == nil then
  return verdict("Progressing", "the operator has not looked at it yet")
end
if status.observedGeneration ~= obj.metadata.generation then
  return verdict("Progressing", "the operator has not looked at this generation yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
for _, name in ipairs({ "Accepted", "ResolvedRefs", "Programmed" }) do
  local condition = conditions[name]
  if condition ~= nil and condition.status ~= "True" then
    local text = condition.reason
    if condition.message ~= nil and condition.message ~= "" then
      text = text .. ": " .. condition.message
    end
    if awaited[condition.reason] then
      return verdict("Progressing", text)
    end
    return verdict("Degraded", text)
  end
end
if conditions.Programmed == nil then
  return verdict("Progressing", "no node has said anything yet")
end

local rollout = status.rollout
if rollout ~= nil then
  local at = "step " .. tostring(rollout.step) .. " of " .. tostring(rollout.of)
  if rollout.state == "Paused" then
    return verdict("Suspended", "the rollout waits at " .. at)
  end
  if rollout.state == "Progressing" then
    return verdict("Progressing", "the rollout is at " .. at)
  end
  if rollout.state == "RolledBack" or rollout.state == "Aborted" then
    return verdict("Degraded", "the rollout ended at " .. at .. ": " .. rollout.state)
  end
end
return verdict("Healthy", "every node has it")

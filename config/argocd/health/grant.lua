-- A grant is healthy when it can be read: no node has to do anything for it.
local status = obj.status
if status == nil or status.conditions == nil then
  return { status = "Progressing", message = "the operator has not looked at it yet" }
end
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not looked at this generation yet" }
end
for _, condition in ipairs(status.conditions) do
  if condition.type == "Accepted" and condition.status ~= "True" then
    return { status = "Degraded", message = condition.reason .. ": " .. (condition.message or "") }
  end
end
return { status = "Healthy", message = "it is in force" }

-- Counters of all workers, in shared memory, in the text format of Prometheus.
local dict = ngx.shared.metrics

local _M = {}

local buckets = { 0.005, 0.025, 0.1, 0.5, 2.5 }

function _M.count()
    dict:incr("requests " .. math.floor(ngx.status / 100) .. "xx", 1, 0)
    local seconds = tonumber(ngx.var.request_time) or 0
    dict:incr("sum", seconds, 0)
    dict:incr("count", 1, 0)
    for _, bound in ipairs(buckets) do
        if seconds <= bound then
            dict:incr("bucket " .. bound, 1, 0)
        end
    end
end

function _M.text()
    local lines = {}
    local function add(...)
        lines[#lines + 1] = string.format(...)
    end
    add("# HELP moonphase_http_requests_total Requests answered, by class of status.")
    add("# TYPE moonphase_http_requests_total counter")
    for class = 1, 5 do
        local code = class .. "xx"
        add('moonphase_http_requests_total{code="%s"} %d', code, dict:get("requests " .. code) or 0)
    end
    add("# HELP moonphase_http_request_duration_seconds Time from the first byte of a request to the last of its answer.")
    add("# TYPE moonphase_http_request_duration_seconds histogram")
    for _, bound in ipairs(buckets) do
        add('moonphase_http_request_duration_seconds_bucket{le="%s"} %d', bound, dict:get("bucket " .. bound) or 0)
    end
    local count = dict:get("count") or 0
    add('moonphase_http_request_duration_seconds_bucket{le="+Inf"} %d', count)
    add("moonphase_http_request_duration_seconds_sum %.3f", dict:get("sum") or 0)
    add("moonphase_http_request_duration_seconds_count %d", count)
    return table.concat(lines, "\n") .. "\n"
end

return _M

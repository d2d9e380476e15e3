"""The dashboard's rows on the agent itself and on its mesh table. Values only."""

from __future__ import annotations

from interceptor.debug.dashboard import query
from interceptor.debug.dashboard.form import Panel, Row, Unit

HEALTH = Row(
    "Health",
    (
        query.state("Ready", "Rules and table are in, and everything lives.", "interceptor_ready"),
        query.state("Sidecar", "The managed Envoy is live.", "interceptor_sidecar_up"),
        query.state("DNS worker", "The DNS worker answers.", "interceptor_dns_worker_up"),
        query.state("Drift", "The host differs from the plan.", "interceptor_drift", wanted=0),
        query.state(
            "Configuration in force",
            "No: the last one offered by a reload was refused; `interceptor status` says why.",
            "interceptor_config_last_reload_successful",
        ),
        query.stat("Mesh hosts", "Hosts of the mesh table.", "interceptor_table_hosts"),
        Panel(
            "Versions and back ends",
            "How many hosts have which.",
            {
                f"count by (version) ({query.of('interceptor_build_info')})": "{{version}}",
                f"count by (tcp, dns) ({query.of('interceptor_backend_info')})": "{{tcp}}/{{dns}}",
            },
        ),
        Panel(
            "Cores",
            "Processors that the agent's processes keep busy; 1 is one.",
            {
                query.own(query.speed("process_cpu_seconds_total")): "agent {{instance}}",
                query.speed("interceptor_dns_worker_process_cpu_seconds_total"): (
                    "DNS worker {{instance}}"
                ),
                query.speed("interceptor_sidecar_process_cpu_seconds_total"): (
                    "Envoy {{instance}}"
                ),
            },
        ),
        Panel(
            "Memory",
            "Resident bytes.",
            {
                query.own(query.of("process_resident_memory_bytes")): "agent {{instance}}",
                query.of("interceptor_dns_worker_process_resident_memory_bytes"): (
                    "DNS worker {{instance}}"
                ),
                query.of("interceptor_sidecar_process_resident_memory_bytes"): "Envoy {{instance}}",
            },
            Unit.BYTES,
        ),
        Panel(
            "Restarts in five minutes",
            "By the supervisor, and by the agent.",
            {
                query.grown("interceptor_supervisor_restarts_total"): ("agent {{instance}}"),
                query.grown("interceptor_worker_restarts_total"): ("DNS worker {{instance}}"),
                query.grown("interceptor_sidecar_restarts_total"): "Envoy {{instance}}",
            },
        ),
        Panel(
            "Longest pause of the agent's loop",
            "Since it began; a pause of seconds is what a watchdog would end it for.",
            {query.of("interceptor_loop_longest_pause_seconds"): "{{instance}}"},
            Unit.SECONDS,
        ),
        Panel(
            "Live traces",
            "Who follows decisions, and what they were not told.",
            {
                query.total("interceptor_trace_listeners"): "listeners {{instance}}",
                query.rate("interceptor_trace_left_out_total", "instance"): "left out {{instance}}",
            },
        ),
    ),
)

TABLE = Row(
    "Table",
    (
        Panel("Hosts", "", {query.of("interceptor_table_hosts"): "{{instance}}"}),
        Panel(
            "Age",
            "Since the oldest document in force was last right in its source; 0: it is.",
            {query.of("interceptor_table_age_seconds"): "{{instance}}"},
            Unit.SECONDS,
        ),
        Panel(
            "Since the last change",
            "",
            {f"time() - {query.of('interceptor_table_loaded_timestamp_seconds')}": "{{instance}}"},
            Unit.SECONDS,
        ),
        Panel(
            "Documents",
            "Refused now, warned of, held as they last were right, and taken from the disk.",
            {
                query.total("interceptor_table_problems"): "problems {{instance}}",
                query.total("interceptor_table_warnings"): "warnings {{instance}}",
                query.total("interceptor_table_held_documents"): "held {{instance}}",
                query.total("interceptor_table_recalled_documents"): "from disk {{instance}}",
            },
        ),
        Panel(
            "Tables refused in five minutes",
            "",
            {query.grown("interceptor_table_rejected_total"): "{{instance}}"},
        ),
        Panel(
            "Time to load",
            "From the source's word to the table.",
            {query.of("interceptor_table_load_seconds"): "{{instance}}"},
            Unit.SECONDS,
        ),
    ),
)

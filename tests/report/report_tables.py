"""Tables of made-up results, seeded: a rich one, and the awkward ones that a report must survive."""

import json

import numpy as np
import pandas as pd

from nestor.bench.table import COLUMNS
from nestor.views.report import ScenarioInfo

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 2">',
    "</script><script>window.hacked = 3</script>",
    "<!--<script>",
    "$x$ \\(y\\)",
    '<b>bold</b> &lt;i&gt; <a href="https://example.org/x">link</a>',
    "%{x} %{y}<extra>z</extra>",
    "🌲 emoji 👩‍👩‍👧",
    "עברית \u202eturned",
    "a" * 300,
    "lines\nof\ttext\x00\x07",
    "javascript:window.hacked=4",
)
ENGINES = {
    # seconds to compile, per row, effective draws per second at 1,000 rows, bytes, device
    "pymc:nutpie@noncentered": (42.0, 9.0, 1e-3, 90.0, 1.1e9, "cpu"),
    "pymc:pymc@noncentered": (14.0, 3.0, 6e-3, 24.0, 0.9e9, "cpu"),
    "numpyro:nuts@noncentered": (8.0, 2.5, 3e-3, 60.0, 1.4e9, "cpu"),
    "numpyro:nuts@noncentered,gpu,float64,vectorized": (19.0, 6.0, 4e-5, 400.0, 2.6e9, "gpu"),
}


def table(rows):
    """Turn mappings, in which any column may be missing, into a table of the right types."""
    return pd.DataFrame(
        {
            name: pd.array([row.get(name) for row in rows], dtype=kind)
            for name, (kind, _) in COLUMNS.items()
        }
    )


def cell(contender="pymc:nutpie@noncentered", seed=1, **more):
    """One run that is ok, with figures that are easily told apart."""
    base = {
        "scenario": "trees",
        "quick": False,
        "track": "matched",
        "contender": contender,
        "engine": contender.partition("@")[0],
        "formulation": "noncentered",
        "device": "cpu",
        "dtype": "float64",
        "chain_method": "parallel",
        "seed": seed,
        "chains": 4,
        "warmup": 1000,
        "draws": 1000,
        "cores": 2,
        "sweep": "",
        "rows": 1000,
        "leaves": 100,
        "nodes": 111,
        "depth": 2,
        "effects": 2,
        "scalars": 230,
        "status": "ok",
        "message": "",
        "verdict": "AGREE",
        "against": "numpyro:nuts@centered",
        "reason": "",
        "target_ess": 400.0,
        "time_is_bound": False,
        "censored": False,
        "place": "p1",
        "cpu": "Example CPU 3000",
        "gpu": "",
        "machine_cores": 8,
        "machine_bytes": 32_000_000_000,
        "load": 0.4 + seed / 10,
        "versions": json.dumps({"nestor": "0.1.0", "pymc": "6.4.0", "jax": "0.12.0"}),
        "commit": "abcdef1",
        "started": f"2026-11-26T10:{seed:02d}:00+00:00",
    }
    return {**base, **figures(42.0, 9.0, 12.0, 90.0 + seed, 1.1e9), **more}


def figures(compile_s, warm, sampling, ess_per_s, peak):
    """Phases, effective draws and what follows from them."""
    ess = ess_per_s * sampling
    gradients = 3e4
    return {
        "import_s": 4.0,
        "upload_s": 0.1,
        "compile_s": compile_s,
        "warm_compile_s": warm,
        "warmup_s": 1.2 * sampling,
        "sampling_s": sampling,
        "postprocess_s": 0.3,
        "transfer_s": 0.05,
        "total_s": 4.45 + compile_s + 2.2 * sampling,
        "ess_min": ess,
        "ess_kind": "tail",
        "ess_quantity": "tau_school[intercept]",
        "gradients": int(gradients),
        "time_to_ess_s": 0.1 + compile_s + 1.2 * sampling + (sampling + 0.35) * 400 / ess,
        "time_to_ess_warm_s": 0.1 + warm + 1.2 * sampling + (sampling + 0.35) * 400 / ess,
        "ess_per_s_sampling": ess_per_s,
        "ess_per_s": ess_per_s / 2.2,
        "ess_per_gradient": ess / gradients,
        "gradients_per_s": gradients / sampling,
        "peak_bytes": int(peak),
    }


def lost(status, message, **more):
    """What a run without figures has in place of them."""
    nothing = dict.fromkeys(figures(1.0, 1.0, 1.0, 1.0, 1.0))
    return {
        **nothing,
        "status": status,
        "message": message,
        "verdict": "",
        "against": "",
        "censored": status != "skipped",
        "censored_at_s": None if status == "skipped" else 60.0,
        **more,
    }


def measured(contender, seed, rows, rng, **more):
    """A run of one of ENGINES at a size, with noise of 5%."""
    compile_s, warm, per_row, rate, peak, device = ENGINES[contender]
    noise = lambda: float(np.exp(0.05 * rng.standard_normal()))  # noqa: E731
    sampling = (0.8 + per_row * rows) * noise()
    found = figures(
        compile_s * noise() * (1 + rows / 40_000),
        warm * noise(),
        sampling,
        rate * noise() * (1000 / rows) ** (0.35 if device == "gpu" else 0.9),
        (peak + 2e4 * rows) * noise(),
    )
    gpu = device == "gpu"
    return cell(
        contender,
        seed,
        **found,
        sweep="rows",
        sweep_value=float(rows),
        rows=rows,
        leaves=rows // 10,
        device=device,
        chain_method="vectorized" if gpu else "parallel",
        device_peak_bytes=int(1.2e9 * noise()) if gpu else None,
        gpu="Example GPU 80GB" if gpu else "",
        place="p2" if gpu else "p1",
        **more,
    )


def rich(seed=11):
    """Two scenarios, two tracks, a sweep, failures, all verdicts, two machines."""
    rng = np.random.default_rng(seed)
    rows = [
        measured(contender, s, size, rng, track=track)
        for track in ("defaults", "matched")
        for size in (300, 1000, 10_000, 100_000)
        for contender in ENGINES
        for s in range(1, 6)
    ]
    for row in rows:
        slow = row["contender"].startswith("pymc:pymc")
        if slow and row["rows"] == 100_000:
            row.update(lost("timeout", "stopped after 600 s", censored_at_s=600.0))
        if slow and row["rows"] == 10_000 and row["seed"] in (2, 4, 5):
            row.update(censored=True, censored_at_s=95.0 + row["seed"], status="gates_failed")
            row.update(time_to_ess_s=None, time_to_ess_warm_s=None, verdict="INCONCLUSIVE")
            row.update(
                message="R-hat 1.09 of tau_school[intercept] is above 1.01", reason="not converged"
            )
        if row["track"] == "defaults" and row["contender"] == "numpyro:nuts@noncentered":
            reason = "the yardstick has 212 effective draws of tau_school[x]; no shift of 0.1 could be seen"
            row.update(verdict="INCONCLUSIVE", reason=reason)
    fast = figures(1.0, 0.5, 2.0, 9000.0, 5e8)
    for track in ("defaults", "matched"):
        for s in range(1, 6):
            wrong = {"verdict": "DISAGREE", "reason": "sigma differs by 0.8 posterior sd"}
            size = {"sweep": "rows", "sweep_value": 10_000.0, "rows": 10_000, "leaves": 1000}
            rows.append(cell("toy:wrong@centered", s, **size, **fast, **wrong, track=track))
            skip = lost("skipped", "engine 'reference' cannot run gpu: it computes on the CPU only")
            rows.append(
                cell("reference:exact@marginalized,gpu", s, **{**size, **skip}, track=track)
            )
    return pd.concat([table(rows), cores(rng)], ignore_index=True)


def cores(rng):
    """A scenario of one size, on 1 to 8 cores, not judged."""
    rows = []
    for contender, power in (("pymc:nutpie@noncentered", 0.9), ("numpyro:nuts@noncentered", 0.6)):
        for n in (1, 2, 4, 8):
            for s in (1, 2, 3):
                rate = 40.0 * n**power * float(np.exp(0.05 * rng.standard_normal()))
                found = figures(20.0, 5.0, 30.0 / n, rate, 1e9)
                more = {"verdict": "", "against": "", "scenario": "cores", "track": "matched"}
                rows.append(cell(contender, s, **found, **more, cores=n))
    return table(rows)


def infos():
    """What is said of the scenarios of `rich`."""
    return [
        ScenarioInfo(
            name="trees",
            title="How the cost of a nested model grows with its rows",
            about="Which engine reaches 400 effective draws first, and from which size on does a GPU pay?",
            formula="y ~ x + (x || region/school)",
            data="Simulated tree: 10 regions, 10 rows per school, seed 1",
            priors={
                "beta": "Normal(0, 10)",
                "tau_school": "HalfNormal(5)",
                "sigma": "HalfNormal(5)",
            },
            settings={"matched": "4 chains x (1,000 + 1,000), target acceptance 0.8, depth 10"},
            command=("nestor bench benchmarks/scenarios/trees.toml --out results/trees",),
            toml='name = "trees"\ntarget_ess = 400\n\n[model]\nformula = "y ~ x + (x || region/school)"\n',
        ),
        ScenarioInfo(name="cores", title="More cores", command=("nestor bench cores.toml",)),
    ]


def hostile():
    """Every text that a user can influence is hostile."""
    rows = []
    for i, text in enumerate(HOSTILE):
        for size in (10.0, 100.0, 1000.0):
            for s in (1, 2, 3):
                found = figures(3.0 + i, 1.0, 2.0 + size / 100, 50.0 + i, 1e9)
                words = dict.fromkeys(
                    ("engine", "message", "against", "reason", "cpu", "gpu"), text
                )
                words |= {"ess_quantity": text, "commit": text, "versions": text, "started": text}
                more = {"track": HOSTILE[0], "scenario": HOSTILE[1], "sweep": HOSTILE[2]}
                verdict = ("AGREE", "INCONCLUSIVE", "DISAGREE", "")[i % 4]
                more |= {"sweep_value": size, "verdict": verdict, "place": text}
                more |= {"chains": 2 + i % 2, "cores": s if i > 9 else 2}
                row = {**cell(text, s), **found, **words, **more}
                if i == 5:
                    row = {**row, **lost("failed", text)}
                rows.append(row)
    return table(rows)


def hostile_infos():
    bad = {text: text for text in HOSTILE}
    words = {
        name: HOSTILE[i % len(HOSTILE)]
        for i, name in enumerate(("title", "about", "formula", "data"))
    }
    texts = "\n".join(HOSTILE)
    return [
        ScenarioInfo(
            name=HOSTILE[1], **words, priors=bad, settings=bad, command=HOSTILE, toml=texts
        ),
        ScenarioInfo(name=HOSTILE[8], title=texts),
    ]


def all_failed():
    kinds = ("failed", "timeout", "out_of_memory", "gates_failed", "density_failed")
    return table(
        [
            cell(
                name,
                s,
                **lost(kinds[(s + i) % 5], f"because {s}", censored_at_s=None if s == 1 else 9.0),
            )
            for i, name in enumerate(ENGINES)
            for s in (1, 2, 3)
        ]
    )


def only_skipped():
    return table(
        [cell(name, s, **lost("skipped", "no GPU here")) for name in ENGINES for s in (1, 2)]
    )


def one_run():
    return table([cell(verdict="", against="")])


def nearly_nothing():
    """Runs of which hardly anything is known."""
    return table(
        [{"scenario": "bare", "status": "ok", "contender": "a", "seed": 1}, {"scenario": "bare"}]
    )


def random_holes(seed=3):
    """The rich table with a third of all numbers missing, so that every combination occurs."""
    rng = np.random.default_rng(seed)
    found = rich()
    keys = {"seed", "chains", "cores", "sweep_value", "quick"}
    for name, (kind, _) in COLUMNS.items():
        if kind in ("Int64", "Float64", "boolean") and name not in keys:
            found.loc[rng.random(len(found)) < 1 / 3, name] = pd.NA
    return found


def thousand(seed=4):
    """A thousand runs: 20 contenders at 10 sizes, 5 seeds."""
    rng = np.random.default_rng(seed)
    names = list(ENGINES)
    rows = []
    for i in range(20):
        for size in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000):
            for s in range(1, 6):
                row = measured(names[i % 4], s, size, rng)
                rows.append({**row, "contender": f"{names[i % 4]},variant={i}"})
    return table(rows)


LONG = "numpyro:nuts@region=centered,school=noncentered,classroom=centered,statistics,gpu,float32,vectorized"


def long_names():
    """Contenders, and words of what became of their runs, that take several lines."""
    rows = []
    for name in (LONG, "pymc:nutpie@centered"):
        own = {"contender": name, "chains": 4, "cores": 2}
        rows.append(cell(seed=1, time_is_bound=True, **own))
        for seed, status in ((2, "gates_failed"), (3, "timeout"), (4, "out_of_memory")):
            rows.append(cell(seed=seed, **{**lost(status, "ESS <= 400"), **own}))
        rows.append(cell(seed=1, verdict="INCONCLUSIVE", **{**own, "chains": 8, "cores": 16}))
    return table(rows)


AWKWARD = {
    "long names": long_names,
    "all failed": all_failed,
    "only skipped": only_skipped,
    "one run": one_run,
    "nearly nothing": nearly_nothing,
    "holes": random_holes,
    "a thousand": thousand,
    "empty": lambda: table([]),
    "hostile": hostile,
}

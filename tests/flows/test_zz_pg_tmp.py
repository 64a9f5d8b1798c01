import sys; sys.path.insert(0,"/work/main/tests")
import json, pytest
from sqlalchemy import create_engine, text
def test_pg(project, prefect_server, slow_simulator, postgres):
    url = postgres("two")
    project.environment["PREFECT_API_URL"]=prefect_server
    project.environment["CONVOFORGE_DATABASE_URL"]=url
    project.spec("shared", per_cell=6, limits={"max_requests": 100_000, "concurrency": 2})
    both=[project.start("build","shared","--simulate","--json",ANTHROPIC_BASE_URL=slow_simulator.url) for _ in range(2)]
    reps=[]
    for p in both:
        o,e=p.communicate(timeout=120); assert p.returncode==0, e; reps.append(json.loads(o.splitlines()[-1]))
    print(reps)
    with create_engine(url).connect() as c: print(c.execute(text("SELECT count(*), count(DISTINCT request_id) FROM generation_logs")).all())
    assert sum(r["generated"] for r in reps)==slow_simulator.books()["requests"]

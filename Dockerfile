# One image for every process of ours; docker-compose.yml says which command and which settings each gets.
FROM python:3.11-slim AS build
WORKDIR /app
RUN pip install --no-cache-dir uv==0.13.9
COPY pyproject.toml requirements.lock ./
# The lock has the packages of tests and of the embedded stack too; a production image takes the runtime's only.
RUN uv venv /venv \
 && uv pip install --no-cache --python /venv/bin/python --constraint requirements.lock -r pyproject.toml
COPY core core
COPY db db
COPY activities activities
COPY workflows workflows
COPY api api
COPY workers workers
COPY planebase/__init__.py planebase/__init__.py
RUN uv pip install --no-cache --python /venv/bin/python --no-deps .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home planebase
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER planebase
CMD ["python", "-c", "raise SystemExit('name a command: python -m api.data, api.control, api.admin, workers.main or db.deploy')"]

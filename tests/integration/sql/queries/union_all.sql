CREATE TABLE union_all (id BIGINT, what VARCHAR) WITH (${sink});

INSERT INTO union_all
SELECT id, 'person' FROM person
UNION ALL SELECT id, 'auction' FROM auction WHERE category = 10
UNION ALL SELECT auction, channel FROM bid WHERE price > 1000000;

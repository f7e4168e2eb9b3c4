CREATE TABLE right_join (name VARCHAR, id BIGINT) WITH (${sink});

INSERT INTO right_join
SELECT P.name, A.id
FROM person AS P RIGHT JOIN auction AS A ON P.id = A.seller;
